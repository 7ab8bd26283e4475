"""Kernels of the score itself: the F-measure, the least LCS that passes, and the LCS, bit-parallel."""

# mypy: disable-error-code="arg-type, assignment, no-any-return, operator, return-value"
# In a kernel numpy's integers and Python's are the same; only signed and unsigned differ.

from typing import NamedTuple

import numpy as np

from seedbed.filters.compiled import inlined, kernel
from seedbed.filters.word_kernels import UNKNOWN, Int64s, Uint32s, Uint64s

TABLE_WORDS = 128
"""Texts shorter than this find their least LCS lengths in a table; longer ones compute them."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class Rule(NamedTuple):
    """When a score counts, and what follows for pairs of lengths."""

    threshold: float
    is_strict: bool
    """Above the threshold, not at it."""
    lowest: Int64s  # (TABLE_WORDS,) shortest partner of a text of so many words
    highest: Int64s  # (TABLE_WORDS,) longest partner
    row_starts: Int64s  # (TABLE_WORDS,) where the row of a length begins in `rows`
    rows: Uint32s
    """Least LCS length for each partner from the shortest to the longest."""


class Masks(NamedTuple):
    """Where each word of the query stands, for the bit-parallel LCS."""

    words: Uint32s
    places: Uint64s
    """Up to 64 query words: a bit for each place; beyond: the first place plus 1."""
    following: Int64s
    """Beyond 64 words: the next place of the same word, or -1."""
    row: Uint64s
    """The bit vector of the recurrence."""


@inlined
def f_measure(lcs: int, a: int, b: int) -> float:
    """Return the F-measure by the expression of `rouge_score`, rounding for rounding."""
    if lcs == 0:
        return 0.0
    precision = lcs / b
    recall = lcs / a
    return 2 * precision * recall / (precision + recall)


@inlined
def is_beyond(score: float, threshold: float, is_strict: bool) -> bool:
    """Say whether a score is refused."""
    return score > threshold if is_strict else score >= threshold


@kernel
def least_lcs(a: int, b: int, threshold: float, is_strict: bool) -> int:
    """Return the least LCS length of texts of a and b words that is beyond the threshold; min(a, b) + 1 if none is."""
    least = max(1, min(int(threshold * (a + b) / 2), a, b))
    while least > 1 and is_beyond(f_measure(least - 1, a, b), threshold, is_strict):
        least -= 1
    while least <= min(a, b) and not is_beyond(f_measure(least, a, b), threshold, is_strict):
        least += 1
    return least


@kernel
def shortest_partner(a: int, threshold: float, is_strict: bool) -> int:
    """Return the length of the shortest text that can be beyond the threshold with one of a words; a + 1 if none."""
    b = max(1, int(a * threshold / (2 - threshold)) - 1)
    while b > 1 and least_lcs(a, b - 1, threshold, is_strict) <= b - 1:
        b -= 1
    while b <= a and least_lcs(a, b, threshold, is_strict) > b:
        b += 1
    return b


@kernel
def longest_partner(a: int, threshold: float, is_strict: bool) -> int:
    """Return the length of the longest text that can be beyond the threshold with one of a words; a - 1 if none."""
    b = int(a * (2 - threshold) / threshold) + 2
    while b >= a and least_lcs(a, b, threshold, is_strict) > a:
        b -= 1
    return b


@kernel
def fill_row(a: int, lowest: int, highest: int, threshold: float, is_strict: bool) -> Uint32s:
    """Return the least LCS length for each partner from the shortest to the longest."""
    row = np.empty(max(0, highest - lowest + 1), np.uint32)
    for b in range(lowest, highest + 1):
        row[b - lowest] = least_lcs(a, b, threshold, is_strict)
    return row


@kernel
def masks_for(words: int) -> Masks:
    """Return room for the masks of texts of up to so many words."""
    cells = 64
    while cells < 4 * words:
        cells *= 2
    beyond = words if words > 64 else 0
    return Masks(
        np.empty(cells, np.uint32),
        np.empty(cells, np.uint64),
        np.empty(beyond, np.int64),
        np.empty((words + 63) // 64, np.uint64),
    )


@inlined
def set_masks(masks: Masks, words: Uint32s) -> None:
    """Note where each word of the query stands."""
    masks.words[:] = UNKNOWN
    masks.places[:] = _ZERO
    for place in range(len(words) - 1, -1, -1):
        if words[place] == UNKNOWN:
            continue
        cell = _mask_cell(masks, words[place])
        masks.words[cell] = words[place]
        if len(words) <= 64:
            masks.places[cell] |= _ONE << np.uint64(place)
        else:
            masks.following[place] = np.int64(masks.places[cell]) - 1
            masks.places[cell] = np.uint64(place + 1)


@inlined
def _mask_cell(masks: Masks, word: np.uint32) -> int:
    last = len(masks.words) - 1
    cell = np.int64((np.uint64(word) * _GOLDEN) >> np.uint64(40)) & last
    while masks.words[cell] != word and masks.words[cell] != UNKNOWN:
        cell = (cell + 1) & last
    return cell


@inlined
def lcs_length(masks: Masks, count: int, other: Uint32s) -> int:
    """Return the length of the longest common subsequence of the query (`count` words) and another text.

    The recurrence is Hyyrö's (2004): a 0 bit stands where the row of the table rises.
    """
    if count > 64:
        return _lcs_length_long(masks, count, other)
    row = _ALL
    for word in other:
        matched = row & masks.places[_mask_cell(masks, word)]
        row = (row + matched) | (row - matched)
    return _zero_bits(row, count)


@kernel
def _lcs_length_long(masks: Masks, count: int, other: Uint32s) -> int:
    """Do the same over several words of 64 bits; those without a match change by the carry only."""
    rows = masks.row[: (count + 63) // 64]
    rows[:] = _ALL
    for word in other:
        place = np.int64(masks.places[_mask_cell(masks, word)]) - 1
        carry = _ZERO
        at = place >> 6
        while at < len(rows) and (place >= 0 or carry != _ZERO):
            matches = _ZERO
            while place >= 0 and place >> 6 == at:
                matches |= _ONE << np.uint64(place & 63)
                place = masks.following[place]
            row = rows[at]
            matched = row & matches
            total = row + matched
            risen = total + carry
            carry = _ONE if total < row or risen < total else _ZERO
            rows[at] = risen | (row & ~matches)
            at = at + 1 if carry != _ZERO else max(at + 1, place >> 6)
    lcs = 0
    for at in range(len(rows)):
        lcs += _zero_bits(rows[at], min(64, count - 64 * at))
    return lcs


@inlined
def _zero_bits(row: np.uint64, count: int) -> int:
    """Count the zeros among the lowest `count` bits."""
    if count < 64:
        row |= _ALL << np.uint64(count)
    return 64 - bits_in(row)


@inlined
def bits_in(value: np.uint64) -> int:
    """Count the ones; LLVM knows this idiom and emits one instruction."""
    value = value - ((value >> _ONE) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))
