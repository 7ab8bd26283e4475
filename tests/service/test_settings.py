"""The settings for people: where each value came from, and no secret among them."""

from pathlib import Path

import pytest

from seedbed.core.load import load_config
from seedbed.service.settings import HIDDEN, Settings, SettingsShown

FILE = """
teacher = "far"
[pool]
first_target = 60
[[endpoints]]
name = "far"
base_url = "https://someone:canary-1@far.example/v1?key=canary-2"
model = "m"
api_key_env = "FAR_KEY"
arguments = ["--api-key", "canary-3", "--token=canary-4", "--max-num-batched-tokens", "8192"]
environment = { HF_TOKEN = "canary-5", ANYTHING = "canary-6" }
"""
ENVIRONMENT = {"SEEDBED__POOL__STEP": "7", "SEEDBED__GENERATION__RECIPES": "{ alpaca = 1.0 }", "FAR_KEY": "canary-7"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "seedbed.toml"
    file.write_text(FILE)
    return file


def shown(path: Path) -> SettingsShown:
    config = load_config(path, ENVIRONMENT)
    return Settings(config, path, {"service.host": "127.0.0.1", "service.port": 1234}, ENVIRONMENT).shown()


def test_each_value_says_where_it_came_from(path: Path) -> None:
    found = {one.key: one for one in shown(path).settings}
    sources = {
        "pool.first_target": (60, "file", ""),
        "pool.step": (7, "environment", "SEEDBED__POOL__STEP"),
        "pool.validation_share": (0.1, "default", ""),
        "generation.recipes": ({"alpaca": 1.0}, "environment", "SEEDBED__GENERATION__RECIPES"),
        "service.port": (1234, "command line", ""),
        "service.host": ("127.0.0.1", "default", ""),
        "endpoints.far.model": ("m", "file", ""),
        "endpoints.far.weight": (1.0, "default", ""),
    }
    assert {key: (found[key].value, found[key].source, found[key].variable) for key in sources} == sources
    assert found["pool.first_target"].default == 1000
    assert "start the first training" in found["pool.first_target"].meaning


def test_no_secret_is_told(path: Path) -> None:
    found = shown(path)
    assert "canary" not in found.model_dump_json()
    by_key = {one.key: one.value for one in found.settings}
    assert by_key["endpoints.far.base_url"] == f"https://{HIDDEN}@far.example/v1?{HIDDEN}"
    assert by_key["endpoints.far.arguments"][-2:] == ["--max-num-batched-tokens", "8192"]
    assert [(one.variable, one.is_set) for one in found.secrets] == [("FAR_KEY", True)]


def test_a_file_that_was_changed_since_the_start_is_told_of(path: Path) -> None:
    settings = Settings(load_config(path, ENVIRONMENT), path, {}, ENVIRONMENT)
    assert settings.shown().change == ""
    path.write_text(FILE.replace("first_target = 60", "first_target = 61"))
    assert "restart" in settings.shown().change
    path.write_text("pool = 3")
    assert "cannot be read" in settings.shown().change
