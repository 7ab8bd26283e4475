"""Settings: read, overridden, and refused in one line that helps."""

from pathlib import Path
from typing import Any

import pytest

from seedbed.core.config import Config
from seedbed.core.errors import ConfigError, MissingFileError
from seedbed.core.load import fingerprint, load_config, load_secrets, parse_config

LOCAL: dict[str, Any] = {
    "teacher": "local",
    "endpoints": [{"name": "local", "base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": "KEY"}],
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poool": {}}, "unknown setting poool; did you mean pool?"),
        ({"pool": {"first_targt": 5}}, "unknown setting pool.first_targt; did you mean first_target?"),
        ({"pool": {"first_target": 0}}, "pool.first_target must be at least 1, got 0"),
        ({"filters": {"rouge": {"treshold": 0.5}}}, "filters.rouge.treshold; did you mean threshold?"),
        ({"teacher": "gone"}, 'teacher = "gone" names no endpoint'),
        ({**LOCAL, "teacher": ["local", "gone"]}, 'teacher = "gone" names no endpoint (local)'),
        ({**LOCAL, "teacher": ["local", "local"]}, "teacher names an endpoint twice"),
        ({"endpoints": [{"name": "a", "model": "m"}]}, 'endpoint "a" needs base_url'),
        ({"endpoints": [{"name": "a", "model": "m", "base_url": "ftp://x"}]}, "must start with http"),
        ({"endpoints": [{"name": "A!", "model": "m", "base_url": "http://x"}]}, "endpoints.0.name"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(settings, "seedbed.toml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "(seedbed.toml)" in str(raised.value)


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "seedbed.toml"
    path.write_text('student = "a"\n[pool]\nfirst_target = 10\n')
    config = load_config(path, {"SEEDBED__POOL__FIRST_TARGET": "60", "SEEDBED__STUDENT": "b", "HOME": "/"})
    assert (config.pool.first_target, config.student) == (60, "b")


def test_an_ambient_base_url_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "seedbed.toml"
    path.write_text('[[endpoints]]\nname = "a"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1/"\n')
    config = load_config(path, {"OPENAI_BASE_URL": "http://elsewhere/v1"})
    assert config.endpoints[0].base_url == "http://127.0.0.1:1/v1"


def test_a_file_that_is_no_toml_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="seedbed init"):
        load_config(tmp_path / "seedbed.toml", {})
    (tmp_path / "seedbed.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "seedbed.toml", {})


def test_a_key_stays_secret_and_a_missing_one_is_named() -> None:
    config = parse_config(LOCAL, "test")
    secrets = load_secrets(config, {"KEY": "sk-canary"})
    assert secrets.api_keys["local"].get_secret_value() == "sk-canary"
    assert "sk-canary" not in f"{secrets!r} {secrets.model_dump_json()} {config!r}"
    with pytest.raises(ConfigError, match="KEY, which is not set"):
        load_secrets(config, {})


def test_a_secret_may_stand_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    config = parse_config({**LOCAL, "service": {"token_env": "TOKEN"}}, "test")
    (tmp_path / "key").write_text("sk-canary\n")
    (tmp_path / "token").write_text(f"{'t' * 32}\n")
    environment = {"KEY_FILE": str(tmp_path / "key"), "TOKEN_FILE": str(tmp_path / "token")}
    secrets = load_secrets(config, environment)
    assert secrets.api_keys["local"].get_secret_value() == "sk-canary"
    assert secrets.service_token
    assert secrets.service_token.get_secret_value() == "t" * 32
    with pytest.raises(ConfigError, match="KEY and KEY_FILE are both set"):
        load_secrets(config, {**environment, "KEY": "another"})
    with pytest.raises(ConfigError, match="gone, which cannot be read"):
        load_secrets(config, {**environment, "KEY_FILE": str(tmp_path / "gone")})


def test_equal_settings_have_equal_fingerprints() -> None:
    assert fingerprint(Config()) == fingerprint(parse_config({}, "test"))
    assert fingerprint(Config()) != fingerprint(parse_config({"student": "x"}, "test"))


def test_every_setting_has_its_meaning_written_beside_it() -> None:
    def unexplained(model: type, path: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]
            inner = field.annotation
            if hasattr(inner, "model_fields"):
                found += unexplained(inner, f"{path}{name}.")
            elif not field.description:
                found.append(path + name)
        return found

    assert unexplained(Config, "") == []
