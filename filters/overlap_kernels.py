"""Compiled parts of the benchmark check: words and their hashes, n-grams, and the lookups of each rule.

Three hashes, all modulo 2^64:

* of a stretch of text: a polynomial over its letters (spaces and punctuation left out) with a random number for each
  byte, so any stretch is one subtraction away once the sums from the left are known;
* of a word: the same over its letters alone, then mixed;
* of an n-gram: two polynomials over its words' hashes, multiplied to 128 bits and folded. The fold throws half of
  the state away, so neighbouring n-grams cannot be subtracted from one another to get at single words.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel

U32: type[np.uint32] = np.uint32
U64: type[np.uint64] = np.uint64
Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Ids: TypeAlias = npt.NDArray[np.int32]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Shares: TypeAlias = npt.NDArray[np.float64]

GATE_LETTERS = 8
"""Letters of an item's beginning that are looked at first."""

SHORT_STEP = U64(0xC2B2AE3D27D4EB4F)
"""What each word adds to the key of a short item."""

_LETTER_BASE = U64(0x9E3779B97F4A7C15)
_WORD_BASE = U64(0xD1342543DE82EF95)
_FIRST_BASE = U64(0xDA942042E4DD58B5)
_SECOND_BASE = U64(0xBF58476D1CE4E5B9)


def letter_codes() -> Hashes:
    """Return a number for each byte: 0 where it separates words, equal for both cases of a letter, else random."""
    codes = np.zeros(256, dtype=np.uint64)
    random = np.random.default_rng(20240607).integers(1, 2**64 - 1, 256, dtype=np.uint64, endpoint=True)
    for byte in range(256):
        if byte >= 0x80 or chr(byte).isalnum():
            codes[byte] = random[ord(chr(byte).lower()) if byte < 0x80 else byte]
    return codes


def letter_powers(length: int) -> Hashes:
    """Return the powers of the letters' base up to `length`."""
    powers = np.full(length + 1, _LETTER_BASE, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


class Scratch(NamedTuple):
    """Room for one row at a time."""

    letters: Hashes
    """Sums over the letters from the left; the one before the first letter is 0."""
    starts: Ints
    """Letters before each word, and before the end."""
    is_start: Bytes
    """By letters from the left: 1 where a word begins, or the text ends."""
    words: Hashes
    grams: Hashes
    """The hash of the n-gram that begins at each word."""
    ids: Ids
    """Which of the index's n-grams that is; -1 for none."""
    gates: npt.NDArray[np.uint32]
    """The lengths of anchors that may begin at each word, as bits."""


@kernel
def mixed(value: np.uint64) -> np.uint64:
    """Spread a hash over all bits (the finalizer of MurmurHash3)."""
    value = U64((value ^ (value >> U64(33))) * U64(0xFF51AFD7ED558CCD))
    value = U64((value ^ (value >> U64(33))) * U64(0xC4CEB9FE1A85EC53))
    return U64(value ^ (value >> U64(33)))


@kernel
def folded_product(first: np.uint64, second: np.uint64) -> np.uint64:
    """Multiply to 128 bits and fold the halves together; many pairs have the same result."""
    a = U64(first ^ U64(0xA0761D6478BD642F))
    b = U64(second ^ U64(0xE7037ED1A0B428DB))
    mask = U64(0xFFFFFFFF)
    a1, a0, b1, b0 = U64(a >> U64(32)), U64(a & mask), U64(b >> U64(32)), U64(b & mask)
    low, cross, other = U64(a0 * b0), U64(a1 * b0), U64(a0 * b1)
    carry = U64((low >> U64(32)) + (cross & mask) + (other & mask))
    high = U64(U64(a1 * b1) + (cross >> U64(32)) + (other >> U64(32)) + (carry >> U64(32)))
    return mixed(U64(high ^ U64(a * b)))


@kernel
def stretch_hash(letters: Hashes, powers: Hashes, begin: int, length: int) -> np.uint64:
    """Hash the letters from `begin` on; the length is part of the hash."""
    value = U64(letters[begin + length] - U64(letters[begin] * powers[length]))
    return mixed(U64(value + U64(U64(length) * U64(0x9FB21C651E98DF25))))


@kernel
def read_words(buffer: Bytes, begin: int, end: int, codes: Hashes, first: int, scratch: Scratch) -> int:
    """Read the words of `buffer[begin:end]` after the `first` words already read; return how many there are now."""
    count = first
    at = scratch.starts[first]
    total = scratch.letters[at]
    word = U64(0)
    is_inside = False
    for position in range(begin, end):
        code = codes[buffer[position]]
        if code == U64(0):
            if is_inside:
                scratch.words[count] = mixed(word)
                count += 1
                is_inside = False
            continue
        if not is_inside:
            scratch.starts[count] = at
            scratch.is_start[at] = 1
            word = U64(0)
            is_inside = True
        else:
            scratch.is_start[at] = 0
        word = U64(U64(word * _WORD_BASE) + code)
        total = U64(U64(total * _LETTER_BASE) + code)
        at += 1
        scratch.letters[at] = total
    if is_inside:
        scratch.words[count] = mixed(word)
        count += 1
    scratch.starts[count] = at
    scratch.is_start[at] = 1
    return count


@kernel
def hash_grams(words: Hashes, count: int, size: int, grams: Hashes) -> int:
    """Hash every run of `size` words; return how many there are."""
    first, second, first_power, second_power = U64(0), U64(0), U64(1), U64(1)
    for _ in range(size):
        first_power, second_power = U64(first_power * _FIRST_BASE), U64(second_power * _SECOND_BASE)
    for at in range(count):
        first = U64(U64(first * _FIRST_BASE) + words[at])
        second = U64(U64(second * _SECOND_BASE) + words[at])
        if at >= size:
            first = U64(first - U64(words[at - size] * first_power))
            second = U64(second - U64(words[at - size] * second_power))
        if at >= size - 1:
            grams[at - size + 1] = folded_product(first, second)
    return max(count - size + 1, 0)


@kernel
def long_gram(grams: Hashes, at: int, steps: Ints) -> np.uint64:
    """Hash a longer n-gram by the shorter ones that cover it, which begin `steps` words after its first."""
    value = U64(grams[at])
    for step in steps:
        value = folded_product(value, grams[at + step])
    return value


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
def new_scratch(length: int) -> Scratch:
    """Make room for a row of that many bytes."""
    words = length // 2 + 4
    letters, starts = np.zeros(length + 2, np.uint64), np.zeros(words, np.int64)
    is_start = np.zeros(length + 2, np.uint8)
    hashes, grams, ids = np.empty(words, np.uint64), np.empty(words, np.uint64), np.empty(words, np.int32)
    return Scratch(letters, starts, is_start, hashes, grams, ids, np.empty(words, np.uint32))


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


class Made(NamedTuple):
    """What `read_items` writes, by item."""

    words: Ids
    letters: Ids
    hashes: Hashes
    anchors: npt.NDArray[np.uint32]
    gates: npt.NDArray[np.uint16]
    grams: Hashes


@kernel
def read_items(buffer: Bytes, bounds: Ints, codes: Hashes, powers: Hashes, gram: int, made: Made) -> int:
    """Hash items, one text each; return the number of their n-grams, which lie end to end in `made.grams`."""
    longest = 0
    for item in range(len(bounds) - 1):
        longest = max(longest, bounds[item + 1] - bounds[item])
    scratch = new_scratch(longest)
    total = 0
    for item in range(len(bounds) - 1):
        scratch.starts[0] = 0
        count = read_words(buffer, bounds[item], bounds[item + 1], codes, 0, scratch)
        letters = scratch.starts[count]
        level = 1
        while 2 * level <= letters:
            level *= 2
        made.words[item], made.letters[item] = count, letters
        if letters > 0:
            made.hashes[item] = stretch_hash(scratch.letters, powers, 0, letters)
            made.anchors[item] = np.uint32(stretch_hash(scratch.letters, powers, 0, level) >> U64(32))
        if letters >= GATE_LETTERS:
            made.gates[item] = np.uint16(stretch_hash(scratch.letters, powers, 0, GATE_LETTERS) >> U64(48))
        total += hash_grams(scratch.words, count, gram, made.grams[total:])
    return total


@kernel
def count_standing(items: Items, buffer: Bytes, bounds: Ints, met: Ids, counts: Ids) -> None:
    """Count, for each item, the texts it stands whole in."""
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    scratch = new_scratch(longest)
    last = np.full(len(counts), -1, np.int64)
    for row in range(len(bounds) - 1):
        scratch.starts[0] = 0
        count = read_words(buffer, bounds[row], bounds[row + 1], items.codes, 0, scratch)
        open_gates(items, scratch, count, scratch.gates)
        for word in range(count):
            begin, end = scratch.starts[word], scratch.starts[count]
            for number in range(items_at(items, scratch, begin, end, scratch.gates[word], met)):
                item = met[number]
                if last[item] != row:
                    last[item] = row
                    counts[item] += 1


@kernel
def long_grams_of(grams: Hashes, bounds: Ints, reach: int, steps: Ints, made: Hashes, items: Ids) -> int:
    """Hash the longer n-grams of all items; return how many there are."""
    total = 0
    for item in range(len(bounds) - 1):
        for at in range(bounds[item], bounds[item + 1] - reach):
            made[total] = long_gram(grams, at, steps)
            items[total] = item
            total += 1
    return total


@kernel
def gram_ids_of(index: Index, buffer: Bytes, bounds: Ints) -> Ids:
    """Return which of the index's n-grams begins at each word of the first text, -1 for none."""
    scratch = new_scratch(bounds[1])
    scratch.starts[0] = 0
    count = read_words(buffer, bounds[0], bounds[1], index.items.codes, 0, scratch)
    grams = hash_grams(scratch.words, count, index.gram, scratch.grams)
    for at in range(grams):
        scratch.ids[at] = np.int32(number_of(index.grams, scratch.grams[at]))
    return scratch.ids[:grams]
