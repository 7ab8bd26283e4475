"""A MinHash index whose answers are exact: bands propose, the shingles themselves decide.

Texts become sets of word shingles, sets become signatures (bit-identical to datasketch 2.0, scheme `affine32`, SHA-1),
signatures that agree in all rows of any band are candidates, and a candidate counts by the exact Jaccard similarity
of the shingle sets, compared by 64-bit hashes of the shingles.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from seedbed.core.text import words

if TYPE_CHECKING:
    from datasketch import LeanMinHash

_Kind = TypeVar("_Kind", bound=np.generic)

_BEYOND_ASCII = re.compile("([^\x00-\x7f]+)")
_CACHED_CHARACTERS = 16

RECALL = 0.999
"""Least share of pairs at the threshold that some band brings together."""


@dataclass(frozen=True, slots=True)
class Bands:
    """How a signature is cut: `count` bands of `rows` values."""

    count: int
    rows: int

    def recall(self, jaccard: float) -> float:
        """Return the probability that a pair of that similarity shares a band: 1 - (1 - j^r)^b."""
        return float(1 - (1 - jaccard**self.rows) ** self.count)


def choose_bands(threshold: float, permutations: int) -> Bands:
    """Take the longest rows, hence the fewest chance candidates, that keep `RECALL` at the threshold.

    At 0.7 with 128 permutations that is 32 bands of 4 (0.99985). datasketch's own choice weighs false positives as
    heavily as false negatives and so loses one document in eleven; ours are checked exactly and cost little.
    """
    for rows in range(permutations, 0, -1):
        bands = Bands(permutations // rows, rows)
        if bands.recall(threshold) >= RECALL:
            return bands
    return Bands(permutations, 1)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What the index keeps of a text."""

    signature: npt.NDArray[np.uint32]  # (permutations,)
    shingles: npt.NDArray[np.uint64]  # sorted, distinct

    def lean(self, seed: int = 1) -> "LeanMinHash":
        """Return the signature as datasketch's own object, for its LSH and its estimates."""
        from datasketch import LeanMinHash

        return LeanMinHash(seed=seed, hashvalues=self.signature, scheme="affine32")


@dataclass(frozen=True, slots=True)
class Sketches:
    """Many sketches side by side; a slice of them is a view."""

    signatures: npt.NDArray[np.uint32]  # (texts, permutations)
    shingles: npt.NDArray[np.uint64]
    """Of all texts, one after another; each text's sorted and distinct."""
    bounds: npt.NDArray[np.int64]  # (texts + 1,)
    """Where each text's shingles begin, and where the last one's end."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> Sketch:
        return Sketch(self.signatures[number], self.shingles[self.bounds[number] : self.bounds[number + 1]])

    def __iter__(self) -> Iterator[Sketch]:
        return (self[number] for number in range(len(self)))

    def part(self, begin: int, end: int) -> "Sketches":
        """Return those from `begin` up to `end`."""
        return Sketches(self.signatures[begin:end], self.shingles, self.bounds[begin : min(end, len(self)) + 1])

    def chosen(self, numbers: Sequence[int]) -> "Sketches":
        """Return those of these numbers, in that order."""
        parts = [self.shingles[self.bounds[number] : self.bounds[number + 1]] for number in numbers]
        shingles = np.concatenate(parts) if parts else self.shingles[:0]
        return Sketches(self.signatures[list(numbers)], shingles, _bounds_of([len(part) for part in parts]))


class Sketcher:
    """Turns texts into sketches, many at a time.

    A shingle is a run of `shingle_words` words (`core.text.words`), joined by one space, in UTF-8; a shorter text is
    one shingle. `datasketch.MinHash(num_perm=permutations, seed=seed)` updated with these shingles has the same
    `hashvalues`.
    """

    def __init__(self, *, shingle_words: int = 5, permutations: int = 128, seed: int = 1) -> None:
        from datasketch import MinHash

        self.shingle_words, self.permutations, self.seed = shingle_words, permutations, seed
        multipliers, offsets = MinHash(num_perm=permutations, seed=seed, scheme="affine32").permutations
        self._multipliers = np.ascontiguousarray(multipliers, dtype=np.uint32)
        self._offsets = np.ascontiguousarray(offsets, dtype=np.uint32)

    def signatures(self, texts: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Return the signatures of many texts, shape (texts, permutations)."""
        return self._run(texts)[0]

    def sketches(self, texts: Sequence[str]) -> Sketches:
        """Sketch many texts."""
        from seedbed.filters.minhash_kernels import sort_rows

        signatures, hashes, bounds = self._run(texts)
        sorted_bounds = np.empty_like(bounds)
        sort_rows(hashes, bounds, sorted_bounds)
        return Sketches(signatures, hashes[: sorted_bounds[-1]].copy(), sorted_bounds)

    def sketch(self, text: str) -> Sketch:
        """Sketch one text."""
        return self.sketches([text])[0]

    def _run(
        self, texts: Sequence[str]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        from seedbed.filters.shingle_kernels import sketch_rows

        encoded = [plain_bytes(text) for text in texts]
        buffer = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        bounds = _bounds_of([len(part) for part in encoded])
        signatures = np.empty((len(texts), self.permutations), dtype=np.uint32)
        hashes = np.empty(len(buffer) // 2 + len(texts), dtype=np.uint64)
        hash_bounds = np.empty(len(texts) + 1, dtype=np.int64)
        flat = signatures.reshape(-1)
        sketch_rows(buffer, bounds, self.shingle_words, self._multipliers, self._offsets, flat, hashes, hash_bounds)
        return signatures, hashes, hash_bounds


def plain_bytes(text: str) -> bytes:
    """Encode text so that its words are the runs of ASCII letters, digits and bytes from 0x80, whatever the script."""
    if text.isascii():
        return text.encode()
    parts = _BEYOND_ASCII.split(text)
    runs = [_spelled(run) if len(run) > _CACHED_CHARACTERS else _spelled_before(run) for run in parts[1::2]]
    if None in runs:
        return " ".join(words(text)).encode("utf-8", "replace")
    parts[1::2] = [run for run in runs if run is not None]
    return "".join(parts).encode("utf-8", "replace")


def _spelled(run: str) -> str | None:
    """Return a run of characters beyond ASCII with its words lower-cased and set apart; None where more is needed.

    Its first word continues the one before the run, where it began with none of its own, and so does its last. What
    stands around a run changes its letters in two cases: a mark may join the letter before it, and a capital sigma
    is written otherwise at the end of a word.
    """
    if "\u03a3" in run or unicodedata.category(run[0]).startswith("M"):
        return None
    return " ".join(words(f"a{run}a"))[1:-1]


_spelled_before = lru_cache(maxsize=4096)(_spelled)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The entry most like a text."""

    entry: int
    jaccard: float


class MinHashIndex:
    """Sketches by their bands. Entries are numbered as they come; a removed one's number is not given again."""

    def __init__(self, bands: Bands) -> None:
        from seedbed.filters.minhash_kernels import Tables

        self.bands, self._cut = bands, (bands.count, bands.rows)
        self._tables = Tables(
            slots=np.zeros(1 << 12, dtype=np.uint64),
            links=np.zeros(256 * bands.count, dtype=np.int32),
            bounds=np.zeros(2 * 256, dtype=np.int64),
            arena=np.zeros(1 << 14, dtype=np.uint64),
            is_alive=np.zeros(256, dtype=np.bool_),
            tasks=np.zeros(256, dtype=np.uint64),
            instructions=np.zeros(256, dtype=np.uint64),
            seen=np.zeros(256, dtype=np.int64),
        )
        self._count = self._arena_end = self._used_slots = self._turn = 0
        self._found = np.zeros(1, dtype=np.float64)

    def nearest(self, sketch: Sketch, *, task: int = 0, instruction: int = 0) -> Nearest | None:
        """Return the entry of greatest Jaccard that shares a band, ties to the earliest; None where none does.

        `instruction` is a hash of the instruction where the text contains it, else 0. Entries of the same task or
        the same instruction are passed over where both texts contain theirs.
        """
        from seedbed.filters.minhash_kernels import Query, find_nearest

        self._turn += 1
        query = Query(sketch.shingles, np.uint64(task), np.uint64(instruction))
        entry = find_nearest(self._tables, query, sketch.signature, *self._cut, self._turn, self._found)
        return Nearest(entry, float(self._found[0])) if entry >= 0 else None

    def nearest_of_each(
        self, sketches: Sketches, tasks: Sequence[int], instructions: Sequence[int]
    ) -> list[Nearest | None]:
        """Return `nearest` of each; none is put in."""
        from seedbed.filters.minhash_kernels import find_nearest_of_each

        count, turn = len(sketches), self._turn + 1
        if not count:
            return []
        best, scores = np.empty(count, np.int64), np.empty(count, np.float64)
        same = (np.array(tasks, np.uint64), np.array(instructions, np.uint64))
        texts = (sketches.signatures.reshape(-1), sketches.shingles, sketches.bounds, *same)
        find_nearest_of_each(self._tables, *texts, *self._cut, turn, best, scores)
        self._turn += count
        return _nearest_of(best, scores)

    def add(self, sketch: Sketch, *, task: int = 0, instruction: int = 0) -> int:
        """Put a sketch in; return its entry number."""
        self.take(_alone(sketch), [task], [instruction])
        return self._count - 1

    def take(
        self, sketches: Sketches, tasks: Sequence[int] = (), instructions: Sequence[int] = ()
    ) -> list[Nearest | None]:
        """Put sketches in, one after another; return the nearest of each among those before it, as `nearest` would."""
        from seedbed.filters.minhash_kernels import take_entries

        count, first = len(sketches), self._count
        if not count:
            return []
        begin, end = int(sketches.bounds[0]), int(sketches.bounds[-1])
        self._make_room(count, end - begin)
        tables = self._tables
        bounds = sketches.bounds + (self._arena_end - begin)
        tables.arena[self._arena_end : bounds[-1]] = sketches.shingles[begin:end]
        tables.bounds[2 * first : 2 * (first + count) : 2] = bounds[:-1]
        tables.bounds[2 * first + 1 : 2 * (first + count) : 2] = bounds[1:]
        tables.tasks[first : first + count] = tasks or 0
        tables.instructions[first : first + count] = instructions or 0
        tables.is_alive[first : first + count] = True
        best, scores = np.empty(count, np.int64), np.empty(count, np.float64)
        turn, signatures = self._turn + 1, sketches.signatures.reshape(-1)
        self._used_slots += take_entries(tables, signatures, first, *self._cut, turn, best, scores)
        self._count, self._arena_end, self._turn = first + count, int(bounds[-1]), self._turn + count
        return _nearest_of(best, scores)

    def remove(self, entry: int) -> None:
        """Forget an entry; its room is not used again."""
        self._tables.is_alive[entry] = False

    def __len__(self) -> int:
        return int(np.count_nonzero(self._tables.is_alive))

    @property
    def memory_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._tables)

    def _make_room(self, entries: int, shingles: int) -> None:
        from seedbed.filters.minhash_kernels import rehash

        old = self._tables
        if self._count + entries > len(old.is_alive):
            rows = 2 * (self._count + entries)
            self._tables = self._tables._replace(
                links=_grown(old.links, rows * self.bands.count),
                bounds=_grown(old.bounds, 2 * rows),
                is_alive=_grown(old.is_alive, rows),
                tasks=_grown(old.tasks, rows),
                instructions=_grown(old.instructions, rows),
                seen=_grown(old.seen, rows),
            )
        if self._arena_end + shingles > len(old.arena):
            self._tables = self._tables._replace(arena=_grown(old.arena, 2 * len(old.arena) + shingles))
        wanted = 2 * (self._used_slots + entries * self.bands.count)
        if wanted > len(old.slots):
            slots = np.empty(1 << wanted.bit_length(), dtype=np.uint64)
            slots.fill(0)
            rehash(old.slots, slots)
            self._tables = self._tables._replace(slots=slots)


def _nearest_of(best: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> list[Nearest | None]:
    found = zip(best.tolist(), scores.tolist(), strict=True)
    return [Nearest(entry, jaccard) if entry >= 0 else None for entry, jaccard in found]


def _alone(sketch: Sketch) -> Sketches:
    return Sketches(sketch.signature.reshape(1, -1), sketch.shingles, _bounds_of([len(sketch.shingles)]))


def _bounds_of(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    bounds = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def _grown(array: npt.NDArray[_Kind], length: int) -> npt.NDArray[_Kind]:
    larger = np.zeros(length, dtype=array.dtype)
    larger[: len(array)] = array
    return larger
