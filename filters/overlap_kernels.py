"""Compiled parts of the benchmark check: the tables of all items, and the lookups of each rule."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel
from seedbed.filters.hash_kernels import (
    U32,
    U64,
    Bytes,
    Hashes,
    Ids,
    Ints,
    Scratch,
    hash_grams,
    long_gram,
    new_scratch,
    read_words,
    stretch_hash,
)

Shares: TypeAlias = npt.NDArray[np.float64]

GATE_LETTERS = 8
"""Letters of an item's beginning that are looked at first."""

SHORT_STEP = U64(0xC2B2AE3D27D4EB4F)
"""What each word adds to the key of a short item."""


class Lookup(NamedTuple):
    """A table from hashes to lists of numbers: one bit each to say no quickly, open addressing, lists end to end."""

    bits: Bytes
    slots: Ids
    keys: Hashes
    offsets: Ints
    values: Ids


@kernel
def fill_lookup(keys: Hashes, bits: Bytes, slots: Ids) -> None:
    """Enter distinct keys into empty tables whose lengths are powers of two."""
    mask = U64(len(slots) - 1)
    bit_mask = U64(8 * len(bits) - 1)
    for number in range(len(keys)):
        bit = U64((keys[number] >> U64(20)) & bit_mask)
        bits[bit >> U64(3)] |= np.uint8(1 << (bit & U64(7)))
        slot = U64(keys[number] & mask)
        while slots[slot] >= 0:
            slot = U64((slot + U64(1)) & mask)
        slots[slot] = np.int32(number)


@kernel
def number_of(lookup: Lookup, key: np.uint64) -> int:
    """Return the number of a key, -1 where it is not in."""
    bit = U64((key >> U64(20)) & U64(8 * len(lookup.bits) - 1))
    if (lookup.bits[bit >> U64(3)] >> (bit & U64(7))) & np.uint8(1) == 0:
        return -1
    mask = U64(len(lookup.slots) - 1)
    slot = U64(key & mask)
    while lookup.slots[slot] >= 0:
        if lookup.keys[lookup.slots[slot]] == key:
            return int(lookup.slots[slot])
        slot = U64((slot + U64(1)) & mask)
    return -1


class Items(NamedTuple):
    """Items as stretches of letters. Item numbers are the same in all arrays."""

    anchors: Lookup
    """Hash of an item's first letters, as many as the greatest power of two that fits → items."""
    letters: Ints
    hashes: Hashes
    levels: npt.NDArray[np.uint32]
    """For each gate (16 bits of a hash of the first eight letters), the lengths of the anchors behind it, as bits."""
    short_levels: np.uint32
    """The lengths of anchors under eight letters that are in use, as bits."""
    powers: Hashes
    codes: Hashes


class Index(NamedTuple):
    """All items of all references."""

    items: Items
    whole: Lookup
    """Hash of an item's letters → items; of a short item's letters and number of words, so "4 3" is not "43"."""
    can_be_embedded: Bytes
    """1 for items long and distinctive enough to condemn a text they stand in."""
    grams: Lookup
    """n-gram → items it stands in, none where it is boilerplate."""
    long_grams: Lookup
    """n-gram of the other rule → items, none where it is boilerplate."""
    gram_bounds: Ints
    """Where an item's n-grams begin and end in `gram_ids`, in their order."""
    gram_ids: Ids
    steps: Ints
    """See `long_gram`."""
    gram: int
    """Words in an n-gram of `grams`."""
    long_gram: int
    """Words in an n-gram of `long_grams`."""
    short_words: int
    """Items of fewer words are short."""


class Found(NamedTuple):
    """What the rules found, by row. Items are -1 for none; spans are (begin, end) in words of the joined text."""

    equal: Ids
    embedded: Ids
    shared: Ids
    """The item of the longest run of shared n-grams."""
    covered: Ids
    """The item of the greatest coverage, be it enough or not."""
    coverage: Shares
    equal_span: Ids  # (rows, 2)
    embedded_span: Ids  # (rows, 2)
    shared_span: Ids  # (rows, 2)


class Marks(NamedTuple):
    """Which n-grams and items the present row has met: those whose entry is the row's turn."""

    grams: Ints
    items: Ints
    met: Ids
    """The items met, in order; room for all."""


@kernel
def find_equal(index: Index, scratch: Scratch, begin: int, end: int, row: int, found: Found) -> None:
    """Find an item that equals words `begin` to `end`, unless one was found in the row before."""
    length = scratch.starts[end] - scratch.starts[begin]
    if found.equal[row] >= 0 or length == 0 or length >= len(index.items.powers):
        return
    key = stretch_hash(scratch.letters, index.items.powers, scratch.starts[begin], length)
    if end - begin < index.short_words:
        key = U64(key + U64(U64(end - begin) * SHORT_STEP))
    number = number_of(index.whole, key)
    if number >= 0:
        found.equal[row] = index.whole.values[index.whole.offsets[number]]
        found.equal_span[row, 0], found.equal_span[row, 1] = begin, end


@kernel
def anchor_key(anchor: np.uint64) -> np.uint64:
    """Spread the upper half of a hash, which is all that is kept of an anchor."""
    return U64(U64(anchor >> U64(32)) * U64(0x9E3779B97F4A7C15))


@kernel
def open_gates(items: Items, scratch: Scratch, count: int, gates: npt.NDArray[np.uint32]) -> None:
    """Write, for each word, the lengths of anchors that may begin there, as bits."""
    letters, starts, levels, powers = scratch.letters, scratch.starts, items.levels, items.powers
    end = starts[count] - GATE_LETTERS
    for word in range(count):
        gates[word] = items.short_levels
        if starts[word] <= end:
            gates[word] |= levels[stretch_hash(letters, powers, starts[word], GATE_LETTERS) >> U64(48)]


@kernel
def items_at(items: Items, scratch: Scratch, begin: int, end: int, levels: np.uint32, met: Ids) -> int:
    """List the items that stand whole in the text from a letter on, ending where a word ends; return their number."""
    count = 0
    length = 1
    while levels > U32(0) and begin + length <= end:
        if levels & U32(1):
            anchor = anchor_key(stretch_hash(scratch.letters, items.powers, begin, length))
            number = number_of(items.anchors, anchor)
            if number >= 0:
                count = _whole_items(items, scratch, begin, end, number, count, met)
        levels = U32(levels >> U32(1))
        length *= 2
    return count


@kernel
def _whole_items(items: Items, scratch: Scratch, begin: int, end: int, number: int, count: int, met: Ids) -> int:
    """List the items of one anchor that stand whole here after the `count` listed already."""
    for place in range(items.anchors.offsets[number], items.anchors.offsets[number + 1]):
        item = items.anchors.values[place]
        length = items.letters[item]
        if begin + length > end or scratch.is_start[begin + length] == 0:
            continue
        if stretch_hash(scratch.letters, items.powers, begin, length) == items.hashes[item]:
            met[count] = item
            count += 1
    return count


@kernel
def find_embedded(index: Index, scratch: Scratch, count: int, met: Ids, row: int, found: Found) -> None:
    """Find the longest item that may be embedded and stands whole in the text."""
    longest = 0
    open_gates(index.items, scratch, count, scratch.gates)
    for word in range(count):
        if scratch.gates[word] == U32(0):
            continue
        begin, end = scratch.starts[word], scratch.starts[count]
        for number in range(items_at(index.items, scratch, begin, end, scratch.gates[word], met)):
            item = met[number]
            if index.can_be_embedded[item] and index.items.letters[item] > longest:
                longest = index.items.letters[item]
                found.embedded[row] = item
                found.embedded_span[row, 0] = word
    if longest > 0:
        begin = found.embedded_span[row, 0]
        end = begin
        while scratch.starts[end] < scratch.starts[begin] + longest:
            end += 1
        found.embedded_span[row, 1] = end


@kernel
def find_shared(index: Index, scratch: Scratch, grams: int, row: int, found: Found) -> None:
    """Find the longest run of n-grams that are in the index, and an item it begins in."""
    reach = index.long_gram - index.gram
    begin, longest = -1, 0
    for at in range(grams - reach):
        number = -1
        if scratch.ids[at] >= 0 and scratch.ids[at + reach] >= 0:
            number = number_of(index.long_grams, long_gram(scratch.grams, at, index.steps))
        if number < 0 or index.long_grams.offsets[number] == index.long_grams.offsets[number + 1]:
            begin = -1
            continue
        if begin < 0:
            begin = at
        if at - begin + index.long_gram > longest:
            longest = at - begin + index.long_gram
            if found.shared[row] < 0 or found.shared_span[row, 0] != begin:
                found.shared[row] = index.long_grams.values[index.long_grams.offsets[number]]
            found.shared_span[row, 0], found.shared_span[row, 1] = begin, begin + longest


@kernel
def coverage_of(index: Index, item: int, marks: Marks, turn: int) -> float:
    """Return the share of an item's words that lie in shared n-grams.

    At most twice the share among its words in distinctive n-grams: shared boilerplate alone covers nothing.
    """
    total, covered, total_end, covered_end = 0, 0, 0, 0
    all_covered, all_end = 0, 0
    first = index.gram_bounds[item]
    for place in range(first, index.gram_bounds[item + 1]):
        gram = index.gram_ids[place]
        begin = place - first
        end = begin + index.gram
        is_shared = marks.grams[gram] == turn
        if is_shared:
            all_covered += end - max(begin, all_end)
            all_end = end
        if index.grams.offsets[gram + 1] > index.grams.offsets[gram]:
            total += end - max(begin, total_end)
            total_end = end
            if is_shared:
                covered += end - max(begin, covered_end)
                covered_end = end
    words = index.gram_bounds[item + 1] - first + index.gram - 1
    return float(min(2.0 * covered / total, all_covered / words))


@kernel
def find_covered(index: Index, scratch: Scratch, grams: int, marks: Marks, turn: int, row: int, found: Found) -> None:
    """Find the item with the greatest share of its words in shared n-grams."""
    count = 0
    for at in range(grams):
        gram = scratch.ids[at]
        if gram < 0 or marks.grams[gram] == turn:
            continue
        marks.grams[gram] = turn
        for place in range(index.grams.offsets[gram], index.grams.offsets[gram + 1]):
            item = index.grams.values[place]
            if marks.items[item] != turn:
                marks.items[item] = turn
                marks.met[count] = item
                count += 1
    for number in range(count):
        share = coverage_of(index, marks.met[number], marks, turn)
        if share > found.coverage[row]:
            found.coverage[row] = share
            found.covered[row] = marks.met[number]


@kernel
def check_rows(index: Index, buffer: Bytes, bounds: Ints, marks: Marks, turn: int, rules: int, found: Found) -> None:
    """Apply the rules (bits: 1 equal, 2 embedded, 4 shared, 8 covered) to rows of three fields.

    Field f of row r is `buffer[bounds[3 * r + f]:bounds[3 * r + f + 1]]`; the rows take `turn` and those after it.
    """
    rows = (len(bounds) - 1) // 3
    longest = 0
    for row in range(rows):
        longest = max(longest, bounds[3 * row + 3] - bounds[3 * row])
    scratch = new_scratch(longest)
    for row in range(rows):
        scratch.starts[0] = 0
        first = read_words(buffer, bounds[3 * row], bounds[3 * row + 1], index.items.codes, 0, scratch)
        second = read_words(buffer, bounds[3 * row + 1], bounds[3 * row + 2], index.items.codes, first, scratch)
        count = read_words(buffer, bounds[3 * row + 2], bounds[3 * row + 3], index.items.codes, second, scratch)
        if rules & 1:
            find_equal(index, scratch, 0, first, row, found)
            find_equal(index, scratch, first, second, row, found)
            find_equal(index, scratch, second, count, row, found)
            find_equal(index, scratch, 0, second, row, found)
            find_equal(index, scratch, first, count, row, found)
            find_equal(index, scratch, 0, count, row, found)
        if rules & 2:
            find_embedded(index, scratch, count, marks.met, row, found)
        if rules & 12:
            grams = hash_grams(scratch.words, count, index.gram, scratch.grams)
            for at in range(grams):
                scratch.ids[at] = np.int32(number_of(index.grams, scratch.grams[at]))
            if rules & 4:
                find_shared(index, scratch, grams, row, found)
            if rules & 8:
                find_covered(index, scratch, grams, marks, turn + row, row, found)
