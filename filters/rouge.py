"""Exact ROUGE-L novelty: is a text nearer to one of many than a threshold allows, and to which?"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np

from seedbed.core.batches import batched
from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import replacing
from seedbed.core.text import rouge_words, words

Operator = Literal[">", ">="]
Tokenizer = Literal["words", "rouge"]

FLOOR = 0.5
"""The least score that `nearest` finds, unless told otherwise."""
_LOAD_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Match:
    """An entry of the index and its ROUGE-L F-measure, as `rouge_score` computes it."""

    key: str
    score: float


class Bar(NamedTuple):
    """Where scores begin to count."""

    threshold: float
    is_strict: bool
    """Above the threshold, not at it."""


class KinFinder:
    """Tells which texts of a batch have an earlier one of the same batch at `floor` or above."""

    def __init__(self, index: "RougeIndex") -> None:
        from seedbed.filters.rouge_store import RougeStore

        bar = Bar(index.floor, is_strict=False)
        self._index, self._store = index, RougeStore(bar, bar)

    def have_kin(self, texts: Sequence[str]) -> list[bool]:
        """Say it of each text."""
        letters = [self._index.letters(text) for text in texts]
        rows = self._store.screen([str(number).encode() for number in range(len(texts))], letters, is_keeping_all=True)
        self._store.clear()
        return [row[0] >= 0 for row in rows]


class RougeIndex:
    """Texts under keys, compared by ROUGE-L F-measure; exact, and fast at a million.

    What is asked: `is_near_duplicate` (the first hit ends it), `best` and `decide_batch` (beyond the threshold),
    `nearest` (at `floor` or above), `top_k` (a scan of all entries). Among equal scores the earliest entry wins.
    Not thread-safe; searches release the GIL.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.7,
        operator: Operator = ">",
        tokenizer: Tokenizer = "words",
        floor: float = FLOOR,
    ) -> None:
        from seedbed.filters.rouge_store import RougeStore

        self.threshold = threshold
        self.operator: Operator = operator
        self.floor = min(floor, threshold)
        self.tokenizer: Tokenizer = tokenizer
        self._tokenize = words if tokenizer == "words" else rouge_words
        self._store = RougeStore(Bar(threshold, operator == ">"), Bar(self.floor, is_strict=False))
        self._confirmed = 0

    def __len__(self) -> int:
        return self._store.alive_count

    def __contains__(self, key: str) -> bool:
        return self._store.entry_of(_key_bytes(key)) >= 0

    @property
    def nbytes(self) -> int:
        """Memory held by the index, in bytes, room for growth included."""
        return self._store.nbytes

    def warm(self) -> None:
        """Compile what the first call would (seconds where no cache is), on an index of its own."""
        trial = RougeIndex(threshold=self.threshold, operator=self.operator, floor=self.floor)
        trial.load([("a", "one two two three"), ("b", "one two three four")])
        trial.insert("c", "one two")
        trial.undo()
        trial.nearest("one two three", exclude=["a"])
        trial.top_k("one two three", 1)
        trial.screen([("d", "four five six")])

    def insert(self, key: str, text: str) -> None:
        """Take in a text, until `confirm` or `undo`; a key that is in stays as it is."""
        if key not in self:
            self._store.append([_key_bytes(key)], [self.letters(text)])

    def confirm(self) -> None:
        """Keep what was inserted, and tidy up where it pays."""
        self._store.tidy()
        self._confirmed = self._store.entry_count

    def undo(self) -> None:
        """Forget what was inserted since the last `confirm`."""
        for entry in range(self._confirmed, self._store.entry_count):
            self._store.bury(entry)
        self._confirmed = self._store.entry_count

    def remove(self, key: str) -> None:
        """Forget an entry; an unknown key is no error."""
        entry = self._store.entry_of(_key_bytes(key))
        if entry >= 0:
            self._store.bury(entry)

    def insert_many(self, entries: Iterable[tuple[str, str]]) -> None:
        """Do as `insert` does with each, faster; of a key that comes twice, the first text stays."""
        self._append(entries, is_listing=True)

    def load(self, entries: Iterable[tuple[str, str]]) -> None:
        """Take in many, confirmed at once, and lay all entries out anew: the fastest way to fill an empty index."""
        self._append(entries, is_listing=False)
        self._store.rebuild()
        self._confirmed = self._store.entry_count

    def _append(self, entries: Iterable[tuple[str, str]], *, is_listing: bool) -> None:
        for batch in batched(entries, _LOAD_ROWS):
            fresh: dict[str, str] = {}
            for (key, text), is_in in zip(batch, self.are_in([key for key, _ in batch]), strict=True):
                if not is_in:
                    fresh.setdefault(key, text)
            letters = [self.letters(text) for text in fresh.values()]
            self._store.append([_key_bytes(key) for key in fresh], letters, is_listing=is_listing)

    def best(self, text: str, *, exclude: Collection[str] = ()) -> Match | None:
        """Return the nearest entry beyond the threshold, or None."""
        return self._search([text], exclude)[0]

    def nearest(self, text: str, *, exclude: Collection[str] = ()) -> Match | None:
        """Return the nearest entry at `floor` or above, or None. Costs more than `best`."""
        return self._search([text], exclude, is_to_floor=True)[0]

    def nearest_of_each(self, texts: Sequence[str]) -> list[Match | None]:
        """Return `nearest` of each text; none is inserted."""
        return self._search(texts, (), is_to_floor=True)

    def are_in(self, keys: Sequence[str]) -> list[bool]:
        """Say of each key whether it is in."""
        return self._store.are_in([_key_bytes(key) for key in keys])

    def is_near_duplicate(self, text: str, *, exclude: Collection[str] = ()) -> bool:
        """Say whether any entry is beyond the threshold."""
        return self._search([text], exclude, is_first_wanted=True)[0] is not None

    def decide_batch(self, texts: Sequence[str]) -> list[Match | None]:
        """Return `best` of each text; none is inserted."""
        return self._search(texts, ())

    def screen(self, entries: Sequence[tuple[str, str]]) -> list[Match | None]:
        """Decide texts one after another, each against those before it, and insert those that are new, tentatively."""
        return [
            self._match(row)
            for row in self._store.screen(
                [_key_bytes(key) for key, _ in entries], [self.letters(text) for _, text in entries]
            )
        ]

    def top_k(self, text: str, k: int, *, exclude: Collection[str] = ()) -> list[Match]:
        """Return the k nearest with scores above 0, nearest first; a scan of all entries."""
        rows = self._store.top_k(self.letters(text), k, self._entries(exclude))
        return [match for match in map(self._match, rows) if match is not None]

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, as this index sees them."""
        return self._tokenize(text)

    def score(self, first: str, second: str) -> float:
        """Return the F-measure of two texts that need not be in the index."""
        a, b = self._tokenize(first), self._tokenize(second)
        return f_measure(lcs_length(a, b), len(a), len(b))

    def is_beyond(self, score: float) -> bool:
        """Say whether a score is refused."""
        return score > self.threshold if self.operator == ">" else score >= self.threshold

    def words_of(self, key: str) -> list[str]:
        """Return the words of an entry.

        Raises:
            KeyError: There is none under that key.
        """
        entry = self._store.entry_of(_key_bytes(key))
        if entry < 0:
            raise KeyError(key)
        return [word.decode() for word in self._store.words_of(entry)]

    def save(self, path: Path) -> None:
        """Write all entries to an `.npz` file, atomically, and so confirm them; `read` makes an index of it."""
        arrays: dict[str, Any] = self._store.arrays()
        self._confirmed = self._store.entry_count
        with replacing(path) as stream:
            np.savez(stream, settings=np.array(self._settings()), **arrays)

    @classmethod
    def read(cls, path: Path) -> "RougeIndex":
        """Return the index that `save` wrote.

        Raises:
            MissingFileError: There is no such file.
            InputError: It is no such file, or not whole.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                threshold, operator, tokenizer, floor = arrays["settings"].tolist()
                index = cls(threshold=float(threshold), operator=operator, tokenizer=tokenizer, floor=float(floor))
                index._store.restore(arrays)
        except FileNotFoundError as error:
            raise MissingFileError(f"there is no index {path}") from error
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path} is no whole ROUGE index ({error}); remove it, it is rebuilt") from error
        index._confirmed = index._store.entry_count
        return index

    def _settings(self) -> list[str]:
        return [repr(self.threshold), self.operator, self.tokenizer, repr(self.floor)]

    def _search(
        self,
        texts: Sequence[str],
        exclude: Collection[str],
        *,
        is_to_floor: bool = False,
        is_first_wanted: bool = False,
    ) -> list[Match | None]:
        rows = self._store.search(
            [self.letters(text) for text in texts],
            self._entries(exclude),
            is_to_floor=is_to_floor,
            is_first_wanted=is_first_wanted,
        )
        return [self._match(row) for row in rows]

    def _entries(self, keys: Collection[str]) -> list[int]:
        return [entry for entry in (self._store.entry_of(_key_bytes(key)) for key in keys) if entry >= 0]

    def _match(self, row: Sequence[int]) -> Match | None:
        entry, lcs, length, count = row
        if entry < 0:
            return None
        return Match(self._store.key_of(entry).decode("utf-8", "surrogatepass"), f_measure(lcs, count, length))

    def letters(self, text: str) -> bytes:
        """Return the words of a text as kernels read them: lower-case, any ASCII but letters and digits between."""
        if text.isascii():
            return text.lower().encode()
        return " ".join(self._tokenize(text)).encode("utf-8", "surrogatepass")


def _key_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def f_measure(lcs: int, a: int, b: int) -> float:
    """Return the F-measure of an LCS of two texts of a and b tokens, by the expression of `rouge_score`."""
    if lcs == 0:
        return 0.0
    precision = lcs / b
    recall = lcs / a
    return 2 * precision * recall / (precision + recall)


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, by Hyyrö's bit-parallel recurrence."""
    masks: dict[str, int] = {}
    for position, word in enumerate(first):
        masks[word] = masks.get(word, 0) | 1 << position
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matched = row & masks.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


def common_words(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Return one longest common subsequence of two texts."""
    same = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    if same is None:
        return tuple(first if len(first) < len(second) else second)
    return (*first[:same], *_common_words(first[same:], second[same:]))


def _common_words(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in range(len(first) - 1, -1, -1):
        for j in range(len(second) - 1, -1, -1):
            if first[i] == second[j]:
                table[i][j] = table[i + 1][j + 1] + 1
            else:
                table[i][j] = max(table[i + 1][j], table[i][j + 1])
    i = j = 0
    found = []
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            found.append(first[i])
            i, j = i + 1, j + 1
        elif table[i + 1][j] >= table[i][j + 1]:
            i += 1
        else:
            j += 1
    return tuple(found)
