"""Exact ROUGE-L novelty: is a text nearer to one of many than a threshold allows, and to which?"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from seedbed.core.text import rouge_words, words

Operator = Literal[">", ">="]
Tokenizer = Literal["words", "rouge"]


@dataclass(frozen=True, slots=True)
class Match:
    """An entry of the index and its ROUGE-L F-measure, as `rouge_score` computes it."""

    key: str
    score: float


class RougeIndex:
    """Texts under keys, compared by ROUGE-L F-measure."""

    def __init__(
        self, *, threshold: float = 0.7, operator: Operator = ">", tokenizer: Tokenizer = "words", floor: float = 0.5
    ) -> None:
        self.threshold = threshold
        self.operator: Operator = operator
        self.floor = floor
        self._tokenize = words if tokenizer == "words" else rouge_words
        self._entries: dict[str, tuple[list[str], Counter[str]]] = {}
        self._tentative: list[str] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def warm(self) -> None:
        """Compile what the first call would."""

    def insert(self, key: str, text: str) -> None:
        """Take in a text, until `confirm` or `undo`."""
        tokens = self._tokenize(text)
        self._entries[key] = (tokens, Counter(tokens))
        self._tentative.append(key)

    def confirm(self) -> None:
        """Keep what was inserted."""
        self._tentative.clear()

    def undo(self) -> None:
        """Forget what was inserted since the last `confirm`."""
        for key in self._tentative:
            self._entries.pop(key, None)
        self._tentative.clear()

    def remove(self, key: str) -> None:
        """Forget an entry; an unknown key is no error."""
        self._entries.pop(key, None)

    def load(self, entries: Iterable[tuple[str, str]]) -> None:
        """Take in many, confirmed at once."""
        for key, text in entries:
            self.insert(key, text)
        self.confirm()

    def best(self, text: str, *, exclude: Collection[str] = ()) -> Match | None:
        """Return the nearest entry beyond the threshold, the earliest among equals, or None."""
        match = self.nearest(text, exclude=exclude)
        if match is None or not self.is_beyond(match.score):
            return None
        return match

    def nearest(self, text: str, *, exclude: Collection[str] = ()) -> Match | None:
        """Return the nearest entry at `floor` or above, the earliest among equals, or None."""
        matches = self.top_k(text, 1, exclude=exclude)
        return matches[0] if matches and matches[0].score >= self.floor else None

    def is_near_duplicate(self, text: str, *, exclude: Collection[str] = ()) -> bool:
        """Say whether any entry is beyond the threshold."""
        return self.best(text, exclude=exclude) is not None

    def decide_batch(self, texts: Sequence[str]) -> list[Match | None]:
        """Return `best` of each text; none is inserted."""
        return [self.best(text) for text in texts]

    def top_k(self, text: str, k: int, *, exclude: Collection[str] = ()) -> list[Match]:
        """Return the k nearest with scores above 0, nearest first, the earliest among equals."""
        tokens = self._tokenize(text)
        counts = Counter(tokens)
        found = [
            Match(key, f_measure(lcs_length(tokens, other), len(tokens), len(other)))
            for key, (other, other_counts) in self._entries.items()
            if key not in exclude and (counts & other_counts)
        ]
        return sorted(found, key=lambda match: -match.score)[:k]

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, as this index sees them."""
        return self._tokenize(text)

    def score(self, first: str, second: str) -> float:
        """Return the F-measure of two texts that need not be in the index."""
        a, b = self._tokenize(first), self._tokenize(second)
        return f_measure(lcs_length(a, b), len(a), len(b))

    def words_of(self, key: str) -> list[str]:
        """Return the words of an entry."""
        return list(self._entries[key][0])

    def is_beyond(self, score: float) -> bool:
        """Say whether a score is refused."""
        return score > self.threshold if self.operator == ">" else score >= self.threshold


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
