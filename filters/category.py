"""Telling a row's category by compiled code: what `seeds/classifier.py` learned, a tenth of the time."""

import math

import numpy as np

from seedbed.filters.category_kernels import CELLS, Words, cell_of, hash_of, pair_of, score_row
from seedbed.filters.category_kernels import Learned as LearnedArrays
from seedbed.seeds.classifier import Learned, Matrix, Row, Score
from seedbed.seeds.traits import ANSWER_CUES, ASKED_CUES, ENGLISH, Cues, patterns_in

_SMALL_NUMBERS = 4096
_MOST_TIMES = 300
"""More often than a row has marked words, none stands in it."""


def compiled_scores(learned: Learned, plain: Score) -> Score:
    """Return what scores rows as `plain` does; rows beyond ASCII it leaves to that.

    The scores differ by rounding alone.
    """
    words, arrays, categories = _words(), _arrays(learned), learned.weights.shape[1]

    def scores(row: Row) -> Matrix:
        text = row.instruction + row.input + row.output
        if not text.isascii():
            return plain(row)
        asked, given = len(row.instruction), len(row.input)
        bounds = np.array((0, asked, asked + given, len(text)), dtype=np.int64)
        patterns = np.array(patterns_in(row.instruction, row.output), dtype=np.float64)
        found: Matrix = np.empty(categories)
        score_row(np.frombuffer(text.lower().encode(), np.uint8), bounds, patterns, words, arrays, found)
        return found

    scores(Row("", "", ""))  # compiles it, or loads it from the cache
    return scores


def _arrays(learned: Learned) -> LearnedArrays:
    return LearnedArrays(
        learned.rarity,
        np.ascontiguousarray(learned.word_weights),
        learned.middle,
        learned.trait_weights / learned.spread,
        np.ascontiguousarray(learned.traits.T),
        (learned.traits**2).sum(axis=1),
        np.ascontiguousarray(learned.weights),
        np.array([math.log2(number + 1) for number in range(_SMALL_NUMBERS)]),
        np.array([0.0, 1.0, *(1 + math.log(times) for times in range(2, _MOST_TIMES))]),
    )


def _words() -> Words:
    """Lay out the cues; kernels know them by their hashes."""
    asked, answered = ASKED_CUES.count, ANSWER_CUES.count
    english, opens_asked, opens_answered = (1 << (asked + answered + place) for place in range(3))
    signs: dict[int, int] = {}
    for cues, first, opens in ((ASKED_CUES, 0, opens_asked), (ANSWER_CUES, asked, opens_answered)):
        for key, sign in _signs(cues, first, opens):
            signs[key] = signs.get(key, 0) | sign
    for word in ENGLISH:
        key = int(hash_of(word))
        signs[key] = signs.get(key, 0) | english
    assert len(signs) < CELLS * 3 // 4
    keys, values = np.zeros(CELLS, np.uint64), np.zeros(CELLS, np.int64)
    for key, sign in signs.items():
        cell = cell_of(keys, np.uint64(key))
        keys[cell], values[cell] = key, sign
    return Words(keys, values, np.array(ASKED_CUES.stems, dtype=np.int64), asked, answered)


def _signs(cues: Cues, first: int, opens: int) -> list[tuple[int, int]]:
    """Return the hashes of words, stems and phrases, each with the bits of its sorts."""
    found = [(int(hash_of(word)), opens) for word in cues.openers]
    for key, places in cues.places.items():
        one, _, other = key.partition(" ")
        hashed = pair_of(hash_of(one), hash_of(other)) if other else hash_of(key)
        found.append((int(hashed), sum(1 << (first + place) for place in places)))
    return found
