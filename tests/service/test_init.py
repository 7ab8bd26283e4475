"""A new workspace: a config that says everything and reads back as it was meant."""

import tomllib
from pathlib import Path

import pytest

from seedbed.core.config import Config
from seedbed.core.errors import ConfigError, InputError
from seedbed.core.load import load_config, parse_config
from seedbed.service.init import create_workspace, render_config
from seedbed.service.presets import base_settings
from seedbed.service.workspace import open_workspace


@pytest.mark.parametrize("preset", ["", "first-run"])
def test_what_is_written_reads_back_as_what_was_meant(tmp_path: Path, preset: str) -> None:
    config = create_workspace(tmp_path / "w", preset=preset)
    assert load_config(tmp_path / "w" / "seedbed.toml", {}) == config


def test_every_setting_stands_in_the_file_with_its_meaning() -> None:
    text = render_config(parse_config(base_settings("", base_url="", model="", api_key_env=""), "test"))
    for name, field in Config.model_fields["training"].annotation.model_fields.items():  # type: ignore[union-attr]
        assert f"# {field.description}\n# {name} = " in text


def test_uncommenting_every_default_changes_nothing() -> None:
    config = parse_config(base_settings("first-run", base_url="", model="", api_key_env=""), "test")
    lines = render_config(config).splitlines()
    live = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in lines]
    kept = [line for line in live if not line.startswith("# ") and (" = " in line or line.startswith("["))]
    settings = [line for line in kept if line.startswith("[") or line.split(" = ")[0].isidentifier()]
    parsed = tomllib.loads("\n".join(settings))
    parsed["endpoints"][0].pop("base_url")
    assert parse_config(parsed, "test") == config


def test_a_server_of_the_users_is_named_in_one_command(tmp_path: Path) -> None:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:8000/v1", model="m", api_key_env="MY_KEY")
    workspace = open_workspace(tmp_path / "w")
    endpoint = workspace.config.endpoint(workspace.config.teachers[0])
    assert (endpoint.base_url, endpoint.model, endpoint.api_key_env) == ("http://127.0.0.1:8000/v1", "m", "MY_KEY")
    assert endpoint.managed == ""


def test_the_new_workspace_has_seeds_and_holds_categories_out(tmp_path: Path) -> None:
    create_workspace(tmp_path / "w")
    workspace = open_workspace(tmp_path / "w")
    assert len(workspace.held_out) >= 2
    assert len(workspace.held_out_seeds) >= 12
    assert not {task.category for task in workspace.trained_seeds} & set(workspace.held_out)


def test_nothing_of_the_users_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        create_workspace(tmp_path / "w")
    create_workspace(tmp_path / "v")
    (tmp_path / "v" / "seedbed.toml").write_text('student = "changed"\n')
    with pytest.raises(InputError, match="already a workspace"):
        create_workspace(tmp_path / "v")
    create_workspace(tmp_path / "v", keep=True)
    assert (tmp_path / "v" / "seedbed.toml").read_text() == 'student = "changed"\n'


def test_an_unknown_preset_and_half_a_server_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="first-run"):
        create_workspace(tmp_path / "w", preset="frist-run")
    with pytest.raises(ConfigError, match="go together"):
        create_workspace(tmp_path / "w", base_url="http://x")
    assert list(tmp_path.iterdir()) == []
