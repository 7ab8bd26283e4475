"""Finding a prompt template by its name, in the package or in a workspace's overrides, and filling it in."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seedbed.core.errors import ConfigError, MissingFileError
from seedbed.core.text import content_id

PACKAGED_PROMPTS = Path(__file__).parent
_SUFFIX = ".j2"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*")

# Sandboxed, because a workspace's overrides travel with a copied folder: a template is data, never code.
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One Jinja2 template. It stands alone: `include`, `import` and `extends` find nothing."""

    name: str
    """Folder and name without suffix: `generation/alpaca`."""
    sha256: str
    """Of the source, in hexadecimal: what is recorded in a row's lineage."""
    source: str

    def render(self, **values: object) -> str:
        """Fill the template in. A value is inserted as it is, also where it looks like a template itself.

        Raises:
            ConfigError: The template cannot be compiled, lacks a value or fails on one.
        """
        template = _compiled(self.name, self.source)
        try:
            return template.render(**values)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(
                f"prompt template {self.name}: {error}; it was given {', '.join(sorted(values)) or 'no values'}"
            ) from error


class PromptLibrary:
    """All templates of the package, each of which a file of the same name under `overrides` replaces.

    A template is read once: a file that changes during a run changes nothing until the next one.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._folders = (PACKAGED_PROMPTS,) if overrides is None else (overrides, PACKAGED_PROMPTS)
        self._read: dict[str, Prompt] = {}

    def get(self, name: str) -> Prompt:
        """Return the template called `name`.

        Raises:
            MissingFileError: There is none; the message lists the names there are.
            ConfigError: Its file is not UTF-8 text or not a Jinja2 template.
        """
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def names(self) -> tuple[str, ...]:
        """Return the names of all templates, sorted."""
        return tuple(sorted({name for folder in self._folders for name in _names_in(folder)}))

    def fingerprint(self) -> str:
        """Return one hash over the names and hashes of all templates."""
        return content_id(part for name in self.names() for part in (name, self.get(name).sha256))

    def overridden(self, folder: str) -> dict[str, str]:
        """Return the templates of a folder that are not the package's own, by name, with their hashes."""
        packaged = PromptLibrary()
        names = [name for name in self.names() if name.startswith(f"{folder}/")]
        known = set(packaged.names())
        return {
            name: self.get(name).sha256
            for name in names
            if name not in known or self.get(name).sha256 != packaged.get(name).sha256
        }

    def _load(self, name: str) -> Prompt:
        paths = [folder / f"{name}{_SUFFIX}" for folder in self._folders] if _NAME.fullmatch(name) else []
        for path in paths:
            if path.is_file():
                return _read_prompt(name, path)
        raise MissingFileError(f'there is no prompt template "{name}"; there are {", ".join(self.names())}')


def _names_in(folder: Path) -> Iterator[str]:
    for path in folder.glob(f"*/*{_SUFFIX}"):
        name = f"{path.parent.name}/{path.stem}"
        if _NAME.fullmatch(name):
            yield name


def _read_prompt(name: str, path: Path) -> Prompt:
    content = path.read_bytes()
    try:
        source = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt template {path} is not UTF-8 text: {error}") from error
    _compiled(str(path), source)
    return Prompt(name=name, sha256=hashlib.sha256(content).hexdigest(), source=source)


@lru_cache(maxsize=256)
def _compiled(name: str, source: str) -> Template:
    try:
        template = _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigError(f"prompt template {name} line {error.lineno}: {error.message}") from error
    template.globals = dict(template.globals)  # a chain of dicts, read whole at each rendering
    return template
