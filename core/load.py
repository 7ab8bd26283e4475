"""Reading the config: `seedbed.toml`, then environment variables, then one line for each thing that is wrong."""

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from seedbed.core.addresses import host_of, is_refused
from seedbed.core.config import Config, Secrets
from seedbed.core.errors import ConfigError, MissingFileError

PREFIX = "SEEDBED__"
MIN_TOKEN = 32
UNREADABLE = (ValueError, RecursionError)
"""What a text raises that is no TOML, or no JSON: one in other bytes, nested too deep, or with a number too long."""


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a `seedbed.toml`; `SEEDBED__POOL__FIRST_TARGET=60` in the environment beats the file's value.

    Raises:
        MissingFileError: There is no such file.
        ConfigError: It is not TOML, or a setting is unknown or out of range; the message names the nearest key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no {path}; `seedbed init DIR` makes a workspace") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX):
            _override(raw, name, value)
    return parse_config(raw, path.name)


def parse_config(raw: Mapping[str, Any], source: str) -> Config:
    """Check a tree of settings.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [_one_line(details) for details in error.errors(include_url=False)]
        raise ConfigError("; ".join(f"{problem} ({source})" for problem in problems)) from None


def load_secrets(config: Config, environment: Mapping[str, str] = os.environ) -> Secrets:
    """Read the key of each endpoint that names a variable, from it or from the file that `NAME_FILE` names.

    Raises:
        ConfigError: Neither is set, both are, or the file cannot be read.
    """
    keys = {}
    for endpoint in config.endpoints:
        if endpoint.api_key_env:
            key = read_secret(endpoint.api_key_env, environment)
            if not key:
                raise ConfigError(
                    f'endpoint "{endpoint.name}" takes its key from {endpoint.api_key_env}, which is not set'
                )
            keys[endpoint.name] = SecretStr(key)
    token = _service_token(config, environment)
    return Secrets(api_keys=keys, webhook=_webhook(config, environment), service_token=token)


def read_secret(name: str, environment: Mapping[str, str]) -> str:
    """Return a secret, empty where none is set; containers and systemd name a file that holds it, in `NAME_FILE`.

    Raises:
        ConfigError: Both variables are set, or the file cannot be read.
    """
    value, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and path:
        raise ConfigError(f"{name} and {name}_FILE are both set; unset one of them")
    if not path:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE names {path}, which cannot be read: {error}") from error


def _service_token(config: Config, environment: Mapping[str, str]) -> SecretStr | None:
    name = config.service.token_env
    if not name:
        return None
    token = read_secret(name, environment)
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"service.token_env names {name}, which must hold {MIN_TOKEN} or more ASCII characters")
    return SecretStr(token)


def _webhook(config: Config, environment: Mapping[str, str]) -> SecretStr | None:
    name = config.alarms.webhook_env
    if not name:
        return None
    url = read_secret(name, environment)
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"alarms.webhook_env names {name}, which is not set to a URL that starts with http")
    if is_refused(host_of(url)):
        raise ConfigError(f"alarms.webhook_env names {name}, whose URL leads to a link-local or metadata address")
    return SecretStr(url)


def fingerprint(section: BaseModel) -> str:
    """Hash resolved settings to 16 hexadecimal digits, for manifests."""
    text = json.dumps(section.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _override(raw: dict[str, Any], name: str, value: str) -> None:
    *sections, key = name.removeprefix(PREFIX).lower().split("__")
    place = raw
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{name}: {section} is a list in seedbed.toml; only tables can be overridden")
    try:
        place[key] = tomllib.loads(f"value = {value}")["value"]
    except UNREADABLE:
        place[key] = value


def _one_line(details: ErrorDetails) -> str:
    place = ".".join(str(part) for part in details["loc"])
    kind, context, given = details["type"], details.get("ctx", {}), details["input"]
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"])
    if kind == "greater_than_equal":
        return f"{place} must be at least {context['ge']}, got {given!r}"
    if kind == "less_than_equal":
        return f"{place} must be at most {context['le']}, got {given!r}"
    if kind == "value_error":
        message = str(context["error"])
        return f"{place}: {message}" if place else message
    return f"{place}: {details['msg'][0].lower()}{details['msg'][1:]}, got {given!r}"


def _unknown_key(location: tuple[int | str, ...]) -> str:
    keys = _keys_beside(location)
    key = str(location[-1])
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5) or _elsewhere(key)
    place = ".".join(str(part) for part in location)
    return f"unknown setting {place}" + (f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(keys)}")


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = getattr(annotation, "__args__", (annotation,))[0]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


def _elsewhere(key: str) -> list[str]:
    paths = list(_paths(Config))
    last = {path.rsplit(".", 1)[-1]: path for path in paths}
    return [last[name] for name in difflib.get_close_matches(key, last, n=1, cutoff=0.7)]


def _paths(model: type[BaseModel], before: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(before + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _paths(field.annotation, f"{before}{name}.")
    return found
