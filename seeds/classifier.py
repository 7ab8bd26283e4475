"""Tells the category of a row, learned from the seed tasks: kernel ridge regression, solved exactly.

Two kernels are added: a Gaussian one over traits (lengths, forms, cues; `seeds/traits.py`) and a linear one over
hashed words. With as few examples as there are seeds this is one small matrix, solved in milliseconds, and what each
seed would get with itself left out follows from the same matrix (Rifkin and Lippert 2007), so that the error is always
known for the seeds at hand. The constants lie on a plateau: with each halved or doubled, 76% to 83% of the packaged
seeds are told right.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

from seedbed.core.records import SeedTask
from seedbed.seeds.traits import cues_of, offers_choice, request_of, shape_of, words_of

Matrix = npt.NDArray[np.float64]

MIN_SEEDS = 5
"""A category with fewer seed tasks is not learned: rows are never put into it."""

WORD_SLOTS = 1 << 13
WIDTH, CUES, REQUEST = 0.4, 0.5, 0.3
"""Of the Gaussian kernel: its width, and what cues and the way of asking weigh beside lengths and forms."""
WORDS = 0.5
"""Weight of the linear kernel."""
RIDGE = 0.2
PRIOR = 0.4
"""How far a category must be ahead of the one that was asked for to beat it, in score (from -1 to 1)."""
TRUSTED = 0.5
"""Least agreement on the seeds with which a row is moved to another category than was asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is classified."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the classifier names a seed's own category, with that seed left out."""

    seeds: int
    right: int
    by_category: dict[str, tuple[int, int]]
    """Category to seeds and those named right."""
    held_out_seeds: int
    held_out_found: int
    """Held-out seeds that are told as held out, of whichever held-out category."""
    trained_seeds: int
    trained_refused: int
    """Seeds of trained categories that are told as held out: what the contract costs."""

    @property
    def share(self) -> float:
        return self.right / self.seeds if self.seeds else 0.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What scores follow from."""

    rarity: Matrix  # (slots,)
    word_weights: Matrix  # (slots, categories)
    middle: Matrix  # (traits,)
    spread: Matrix  # (traits,)
    trait_weights: Matrix  # (traits,)
    traits: Matrix  # (seeds, traits), scaled
    weights: Matrix  # (seeds, categories)


Score: TypeAlias = Callable[[Row], Matrix]
"""Score a row for each category."""


class CategoryClassifier:
    """Learned once from seed tasks; answers in a fraction of a millisecond. Frozen, so any thread may ask."""

    def __init__(
        self,
        seeds: Sequence[SeedTask],
        held_out: Collection[str] = (),
        scorer: Callable[[Learned, Score], Score] | None = None,
    ) -> None:
        """Learn the categories that have `MIN_SEEDS` seed tasks or more.

        Args:
            seeds: What to learn from.
            held_out: Categories that are told wherever they score highest.
            scorer: Makes of what was learned, and of the way to score that is written here, a faster way.
        """
        counts = Counter(seed.category for seed in seeds)
        learned = [seed for seed in seeds if counts[seed.category] >= MIN_SEEDS]
        self.categories = tuple(sorted({seed.category for seed in learned}))
        self._held_out = np.array([name in held_out for name in self.categories], dtype=bool)
        of_labels = Counter(seed.category for seed in learned if seed.is_classification)
        self._choices = np.array([2 * of_labels[name] > counts[name] for name in self.categories], dtype=bool)
        self._places = {name: place for place, name in enumerate(self.categories)}
        self._truth = np.array([self._places[seed.category] for seed in learned], dtype=np.int64)
        if not self.can_tell:
            return
        rows = [Row(seed.instruction, seed.input, seed.output) for seed in learned]
        counted = np.array([_counted(row) for row in rows])
        self._rarity = np.log((len(rows) + 1) / ((counted > 0).sum(axis=0) + 0.5))
        words = _unit(counted * self._rarity)
        traits = np.array([_traits(row) for row in rows])
        self._middle, self._spread = traits.mean(axis=0), traits.std(axis=0) + 1e-9
        self._trait_weights = _trait_weights()
        self._traits = self._scaled(traits)
        self._squares = (self._traits**2).sum(axis=1)
        kernel = self._compared(self._traits) + WORDS * words @ words.T
        self._inverse = np.linalg.inv(kernel + RIDGE * np.eye(len(rows)))
        targets = np.where(np.arange(len(self.categories)) == self._truth[:, None], 1.0, -1.0)
        self._weights = (self._inverse @ targets).astype(np.float64)
        self._word_weights = WORDS * words.T @ self._weights
        self._left_out = targets - self._weights / np.diag(self._inverse)[:, None]
        score = scorer(self._learned(), self.scores) if scorer else self.scores
        self._scores = lru_cache(maxsize=1024)(score)  # a row is asked for twice: to verify it, and to decide

    @property
    def can_tell(self) -> bool:
        """Whether there are two categories or more to tell apart."""
        return len(self.categories) > 1

    @cached_property
    def agreement(self) -> Agreement:
        """Measure the agreement on the seeds, each left out in its turn."""
        if not self.can_tell:
            return Agreement(0, 0, {}, 0, 0, 0, 0)
        named = self._left_out.argmax(axis=1)
        is_right, is_held = named == self._truth, self._held_out[self._truth]
        by_category = {
            name: (int((self._truth == place).sum()), int(is_right[self._truth == place].sum()))
            for place, name in enumerate(self.categories)
        }
        found = self._held_out[named]
        return Agreement(
            seeds=len(named),
            right=int(is_right.sum()),
            by_category=by_category,
            held_out_seeds=int(is_held.sum()),
            held_out_found=int(found[is_held].sum()),
            trained_seeds=int((~is_held).sum()),
            trained_refused=int(found[~is_held].sum()),
        )

    def named(self, row: Row, requested: str = "") -> str:
        """Name the category of a row; empty where nothing is known of it.

        A held-out category is named wherever it scores highest, whatever was asked for. Otherwise the category that
        was asked for stands unless another is ahead of it by `PRIOR`. A category whose seeds choose between labels is
        none for a row whose instruction offers no choice.
        """
        if not self.can_tell:
            return requested
        scores = self._scores(row)
        best = int(scores.argmax())
        if self._held_out[best]:
            return self.categories[best]
        place = self._places.get(requested)
        if self._is_no_choice(row, best, place):
            return self.categories[int(np.where(self._choices | self._held_out, -np.inf, scores).argmax())]
        if not requested:
            return self.categories[best]
        if place is None or self.agreement.share < TRUSTED or scores[best] - scores[place] < PRIOR:
            return requested
        return self.categories[best]

    def is_held_out(self, row: Row) -> bool:
        """Tell whether a row belongs to a held-out category."""
        return self.can_tell and bool(self._held_out[int(self._scores(row).argmax())])

    def _is_no_choice(self, row: Row, best: int, requested: int | None) -> bool:
        """Tell whether a row would be put among those that choose between labels, and offers none."""
        is_among = self._choices[best] or (requested is not None and self._choices[requested])
        return bool(is_among) and not self._choices.all() and not offers_choice(row.instruction)

    def scores(self, row: Row) -> Matrix:
        """Score a row for each category; there must be two."""
        traits, slots = self._scaled(np.array([_traits(row)])), _slots(row)
        places = np.fromiter(slots, dtype=np.int64, count=len(slots))
        words = np.fromiter(slots.values(), dtype=np.float64, count=len(slots)) * self._rarity[places]
        words /= max(math.sqrt((words * words).sum()), 1e-9)
        scores: Matrix = (self._compared(traits) @ self._weights)[0] + words @ self._word_weights[places]
        return scores

    def _learned(self) -> Learned:
        return Learned(
            self._rarity,
            self._word_weights,
            self._middle,
            self._spread,
            self._trait_weights,
            self._traits,
            self._weights,
        )

    def _compared(self, traits: Matrix) -> Matrix:
        """Compare traits that `_scaled` has weighted with those of the seeds, by the Gaussian kernel."""
        squares = (traits**2).sum(axis=1)[:, None] + self._squares - 2 * traits @ self._traits.T
        result: Matrix = np.exp(-WIDTH * np.maximum(squares, 0.0))
        return result

    def _scaled(self, traits: Matrix) -> Matrix:
        scaled: Matrix = (traits - self._middle) / self._spread * self._trait_weights
        return scaled


def _traits(row: Row) -> list[float]:
    shape = shape_of(row.instruction, row.input, row.output)
    return [*shape, *cues_of(row.instruction, row.output), *request_of(row.instruction, row.input, row.output)]


def _counted(row: Row) -> Matrix:
    slots = np.zeros(WORD_SLOTS)
    for slot, weight in _slots(row).items():
        slots[slot] = weight
    return slots


def _slots(row: Row) -> dict[int, float]:
    """Count the words of a row by slot; the tenth time that a word stands there adds less than the first."""
    counts = Counter(words_of(row.instruction, row.input, row.output))
    weights = [1.0 if count == 1 else 1 + math.log(count) for count in counts.values()]
    slots = list(map(_slot_of, counts))
    found = dict(zip(slots, weights, strict=True))
    if len(found) < len(slots):  # two words share a slot
        found = dict.fromkeys(slots, 0.0)
        for slot, weight in zip(slots, weights, strict=True):
            found[slot] += weight
    return found


@lru_cache(maxsize=1 << 14)
def _slot_of(word: str) -> int:
    return crc32(word.encode("utf-8", "replace")) % WORD_SLOTS


def _unit(rows: Matrix) -> Matrix:
    scaled: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled


def _trait_weights() -> Matrix:
    """Return the root of each trait's weight, so that each of the three kinds counts by its mean."""
    kinds = (len(shape_of("", "", "")), len(cues_of("", "")), len(request_of("", "", "")))
    weights: Matrix = np.sqrt(
        np.concatenate([np.full(n, w / n) for n, w in zip(kinds, (1.0, CUES, REQUEST), strict=True)])
    )
    return weights
