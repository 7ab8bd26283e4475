"""The resolved settings for people: each with its meaning and where its value came from, secrets hidden."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from seedbed.core.config import Config, EndpointConfig
from seedbed.core.errors import SeedbedError
from seedbed.core.load import PREFIX, fingerprint, load_config
from seedbed.core.records import Record

HIDDEN = "(hidden)"
_SECRET_NAME = re.compile(r"(key|token|secret|password|passwd|credentials?|auth)$", re.IGNORECASE)

Source = Literal["default", "file", "environment", "command line"]


class Setting(Record):
    """One setting as it holds."""

    key: str
    """`generation.temperature`, `endpoints.local.base_url`."""
    value: Any
    default: Any = None
    source: Source
    variable: str = ""
    """The environment variable it came from."""
    meaning: str = ""


class SecretShown(Record):
    """A secret, by the variable that holds it; never its value."""

    use: str
    variable: str
    is_set: bool


class SettingsShown(Record):
    """All settings of a running service."""

    file: str
    """Its name in the workspace."""
    change: str
    """What a restart would bring, where the file was changed since the start; otherwise empty."""
    settings: tuple[Setting, ...]
    secrets: tuple[SecretShown, ...]


class Settings:
    """The settings a service was started with.

    Args:
        config: As resolved.
        path: The file; read now, since it may be changed later.
        given: Settings of the command line, by key.
        environment: As at the start.
    """

    def __init__(
        self,
        config: Config,
        path: Path,
        given: Mapping[str, str | int] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._config, self._path, self._given, self._environment = config, path, given or {}, dict(environment)
        self._in_file = set(_keys(tomllib.loads(path.read_text(encoding="utf-8"))))
        names = [name for name in self._environment if name.startswith(PREFIX)]
        self._in_environment = {name.removeprefix(PREFIX).lower().replace("__", "."): name for name in names}

    def shown(self) -> SettingsShown:
        """Return them for people."""
        return SettingsShown(
            file=self._path.name,
            change=self._change(),
            settings=tuple(self._settings(self._config, "")),
            secrets=tuple(self._secrets()),
        )

    def _change(self) -> str:
        try:
            is_same = fingerprint(load_config(self._path, self._environment)) == fingerprint(self._config)
        except SeedbedError:
            return "the file was changed since the start and cannot be read as it is now; `seedbed doctor` says why"
        return "" if is_same else "the file was changed since the start; restart the service to go by it"

    def _settings(self, section: BaseModel, before: str) -> Iterator[Setting]:
        for name, field in type(section).model_fields.items():
            value, key = getattr(section, name), f"{before}{name}"
            if isinstance(value, BaseModel):
                yield from self._settings(value, f"{key}.")
            elif isinstance(value, tuple) and value and isinstance(value[0], EndpointConfig):
                for one in value:
                    yield from self._settings(one, f"{key}.{one.name}.")
            else:
                default = None if field.is_required() else field.get_default(call_default_factory=True)
                yield self._setting(key, value, default, field.description or "")

    def _setting(self, key: str, value: Any, default: Any, meaning: str) -> Setting:
        given = self._given.get(key, value)
        source: Source = "file" if key in self._in_file else "default"
        variable = self._variable_of(key)
        if given != value:
            source, variable = "command line", ""
        elif variable:
            source = "environment"
        shown, usual = _hidden(key, given), _hidden(key, default)
        return Setting(key=key, value=shown, default=usual, source=source, variable=variable, meaning=meaning)

    def _variable_of(self, key: str) -> str:
        """Return the variable that set a key or a table above it."""
        parts = key.split(".")
        names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((self._in_environment[name] for name in names if name in self._in_environment), "")

    def _secrets(self) -> Iterator[SecretShown]:
        named = [(f"key of endpoint {one.name}", one.api_key_env) for one in self._config.endpoints]
        named += [
            ("token of the service", self._config.service.token_env),
            ("where alarms are posted", self._config.alarms.webhook_env),
        ]
        named.append(("password of the pool's server", self._config.pool.password_env))
        for use, variable in named:
            if variable:
                is_set = any(self._environment.get(name) for name in (variable, f"{variable}_FILE"))
                yield SecretShown(use=use, variable=variable, is_set=is_set)


def _keys(tree: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the keys of a TOML tree, endpoints by their names."""
    for name, value in tree.items():
        key = f"{before}{name}"
        yield key
        if isinstance(value, dict):
            yield from _keys(value, f"{key}.")
        elif name == "endpoints" and not before and isinstance(value, list):
            for one in value:
                yield from _keys(one, f"{key}.{one.get('name', '')}.")


def _hidden(key: str, value: Any) -> Any:
    """Return a value without what may be secret: users in URLs, environments of servers, arguments named so."""
    if isinstance(value, str):
        return _hidden_url(value)
    if isinstance(value, Mapping):
        is_all = key.endswith(".environment")
        return {
            name: HIDDEN if is_all or _SECRET_NAME.search(name) else _hidden(name, one) for name, one in value.items()
        }
    if isinstance(value, tuple | list) and key.endswith(".arguments"):
        return _hidden_arguments([str(one) for one in value])
    if isinstance(value, tuple | list):
        return [_hidden(key, one) for one in value]
    return value


def _hidden_url(text: str) -> str:
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN
    place = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return urlunsplit((parts.scheme, place, parts.path, HIDDEN if parts.query else "", ""))


def _hidden_arguments(arguments: list[str]) -> list[str]:
    shown: list[str] = []
    is_secret = False
    for one in arguments:
        name, equals, _ = one.partition("=")
        if is_secret and not one.startswith("-"):
            shown.append(HIDDEN)
            is_secret = False
            continue
        is_named = one.startswith("-") and bool(_SECRET_NAME.search(name))
        shown.append(f"{name}={HIDDEN}" if is_named and equals else _hidden_url(one))
        is_secret = is_named and not equals
    return shown
