"""A reference as hashes: what the rules need of each item, and nothing that can be read back.

Kept of an item: its row, its length in words and letters, a 64-bit hash of all its letters, 32 bits of a hash of its
first half or more, 16 bits of one of its first eight letters, and the 64-bit hashes of its n-grams in order. Who
guesses a text can check the guess; nothing else leads from the hashes to a text.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from seedbed.core.errors import InputError
from seedbed.core.files import read_json, write_atomic, write_json
from seedbed.core.records import Record
from seedbed.filters.lookup import items_of, joined, whole_keys
from seedbed.filters.normal_form import VERSION, normal_text
from seedbed.filters.references import SHORT_WORDS, Reference

if TYPE_CHECKING:
    from seedbed.filters.item_kernels import Made

FOLDER = Path(__file__).parent / "digests"
"""The digests that come with the package."""
MANIFEST = "manifest.json"
GRAM_WORDS = 8
"""Words in the n-grams of a stored digest."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The distinct items of one reference, by their order in it."""

    name: str
    rows: npt.NDArray[np.int32]
    """The row each item comes from, from 1; the first where several are equal."""
    words: npt.NDArray[np.int32]
    letters: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    anchors: npt.NDArray[np.uint32]
    gates: npt.NDArray[np.uint16]
    standing: npt.NDArray[np.int32]
    """In how many of the items it stands whole, itself among them."""
    grams: npt.NDArray[np.uint64]
    """The n-grams of all items, end to end; an item has words - n + 1, or none."""
    gram: int = GRAM_WORDS
    """Words in an n-gram."""

    def __len__(self) -> int:
        return len(self.rows)


class DigestEntry(Record):
    """What the manifest says of one digest."""

    name: str
    file: str
    sha256: str
    source: str
    path: str
    commit: str
    licence: str
    fields: tuple[str, ...]
    """The fields its items were taken from."""
    rows: int
    items: int
    """Distinct after normalisation."""
    recall: dict[str, float] = Field(default_factory=dict)
    """Share of canaries of each kind that were found when it was built, with the text at hand."""


class DigestManifest(Record):
    """`manifest.json` of a folder of digests."""

    normal_form: int
    gram_words: int
    digests: tuple[DigestEntry, ...]


def digest_of(reference: Reference, gram: int = GRAM_WORDS) -> Digest:
    """Hash the items of a reference; equal ones count once, those without a word not at all."""
    from seedbed.filters.hash_kernels import letter_codes, letter_powers
    from seedbed.filters.item_kernels import Made, read_items

    texts = [normal_text(item.text).encode("utf-8", "replace") for item in reference.items]
    buffer, bounds = joined(texts)
    count, longest = len(texts), max((len(text) for text in texts), default=0)
    made = Made(
        words=np.zeros(count, dtype=np.int32),
        letters=np.zeros(count, dtype=np.int32),
        hashes=np.zeros(count, dtype=np.uint64),
        anchors=np.zeros(count, dtype=np.uint32),
        gates=np.zeros(count, dtype=np.uint16),
        grams=np.empty(len(buffer) + 1, dtype=np.uint64),
    )
    codes, powers = letter_codes(), letter_powers(longest)
    total = read_items(buffer, bounds, codes, powers, gram, made)
    is_kept = _is_first_of_its_kind(whole_keys(made.hashes, made.words, SHORT_WORDS)) & (made.words > 0)
    kept = np.flatnonzero(is_kept)
    grams = np.maximum(made.words.astype(np.int64) - gram + 1, 0)
    return Digest(
        name=reference.name,
        rows=np.array([item.row for item in reference.items], dtype=np.int32)[kept],
        words=made.words[kept],
        letters=made.letters[kept],
        hashes=made.hashes[kept],
        anchors=made.anchors[kept],
        gates=made.gates[kept],
        standing=_standing([texts[item] for item in kept], made, kept),
        grams=made.grams[:total][np.repeat(is_kept, grams)],
        gram=gram,
    )


def _is_first_of_its_kind(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    is_first = np.zeros(len(keys), dtype=np.bool_)
    is_first[np.unique(keys, return_index=True)[1]] = True
    return is_first


def _standing(texts: Sequence[bytes], made: "Made", kept: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    """Count in how many of the texts each of them stands whole."""
    from seedbed.filters.item_kernels import count_standing

    letters = made.letters[kept].astype(np.int64)
    items = items_of(letters, made.hashes[kept], made.anchors[kept], made.gates[kept], letters > 0)
    counts = np.zeros(len(kept), dtype=np.int32)
    count_standing(items, *joined(texts), np.empty(len(kept) + 1, np.int32), counts)
    return counts


_ARRAYS = tuple(field.name for field in fields(Digest) if field.name not in ("name", "gram"))


def write_digest(digest: Digest, path: Path) -> str:
    """Write a digest as a compressed numpy archive; return its SHA-256."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: getattr(digest, name) for name in _ARRAYS})
    write_atomic(path, stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def read_digests(folder: Path = FOLDER) -> list[Digest]:
    """Read all digests of a folder, in the manifest's order.

    Raises:
        InputError: A file is not the one the manifest names, or was built by another version.
    """
    manifest = read_manifest(folder)
    if manifest.normal_form != VERSION or manifest.gram_words != GRAM_WORDS:
        raise InputError(f"the digests in {folder} were built by another version of Seedbed; build them again")
    return [_read(folder, entry) for entry in manifest.digests]


def read_manifest(folder: Path = FOLDER) -> DigestManifest:
    """Read the manifest of a folder of digests.

    Raises:
        MissingFileError: There is none.
        InputError: It is not one.
    """
    try:
        return DigestManifest.model_validate(read_json(folder / MANIFEST))
    except ValidationError as error:
        raise InputError(f"{folder / MANIFEST} is not a manifest of digests: {error}") from error


def write_manifest(folder: Path, entries: Sequence[DigestEntry]) -> None:
    """Write the manifest, last: it is the mark that the folder is whole."""
    manifest = DigestManifest(normal_form=VERSION, gram_words=GRAM_WORDS, digests=tuple(entries))
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _read(folder: Path, entry: DigestEntry) -> Digest:
    content = (folder / entry.file).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise InputError(f"{folder / entry.file} is not the digest its manifest names; install Seedbed again")
    arrays: dict[str, Any] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        for name in _ARRAYS:
            arrays[name] = archive[name]
    return Digest(name=entry.name, **arrays)
