"""Kernels that turn letters into numbers of words, and words into elements."""

# mypy: disable-error-code="arg-type, assignment, no-any-return, operator, return-value"
# In a kernel numpy's integers and Python's are the same; only signed and unsigned differ.

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import inlined, kernel

Bytes = npt.NDArray[np.uint8]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

UNKNOWN = np.uint32(0xFFFFFFFF)
"""Stands for a word or element that no entry has."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_LOW = np.uint64(0xFFFFFFFF)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


class Strings(NamedTuple):
    """The arrays of a `Vocabulary`, as kernels take them."""

    table: Uint32s
    """A number plus 1 in each used cell; the size is a power of two."""
    hashes: Uint32s
    starts: Int64s
    """Where each string begins in `content`; the string after the last begins at its end."""
    content: Bytes
    total: Int64s
    """One element: how many strings there are."""


@inlined
def number_words(strings: Strings, letters: Bytes, begin: int, end: int, into: Uint32s, is_adding: bool) -> int:
    """Write the numbers of the words in letters[begin:end] and return how many they are.

    A word is a run of bytes among a-z, 0-9 and 0x80 and above; the caller has lower-cased and, beyond ASCII, split.
    Unless `is_adding`, a new word is `UNKNOWN`.
    """
    count = 0
    place = begin
    while place < end:
        if not _is_letter(letters[place]):
            place += 1
            continue
        start = place
        value = _FNV_OFFSET
        while place < end and _is_letter(letters[place]):
            value = (value ^ np.uint64(letters[place])) * _FNV_PRIME
            place += 1
        into[count] = _number(strings, letters, start, place, fold(value), is_adding)
        count += 1
    return count


@inlined
def _is_letter(letter: np.uint8) -> bool:
    return 97 <= letter <= 122 or 48 <= letter <= 57 or letter >= 128


@inlined
def _number(strings: Strings, letters: Bytes, begin: int, end: int, hashed: np.uint32, is_adding: bool) -> np.uint32:
    number = find(strings, letters, begin, end, hashed)
    if number >= 0:
        return np.uint32(number)
    if is_adding:
        return np.uint32(append(strings, letters, begin, end, hashed))
    return UNKNOWN


@inlined
def order_elements(
    strings: Strings, rank: Uint32s, words: Uint32s, order: Uint64s, elements: Uint32s, is_adding: bool
) -> None:
    """Write the elements of a text, rarest first. `order` is room to sort in."""
    count = len(words)
    for place in range(count):
        order[place] = _sort_key(rank, words[place])
    _sort(order, count)
    last, occurrence, has_repeats = UNKNOWN, 1, False
    for place in range(count):
        word = np.uint32(order[place] & _LOW)
        occurrence = occurrence + 1 if word == last and word != UNKNOWN else 1
        last = word
        if occurrence > 1:
            order[place] = _sort_key(rank, _repeated(strings, word, occurrence, is_adding))
            has_repeats = True
    if has_repeats:
        _sort(order, count)
    for place in range(count):
        elements[place] = np.uint32(order[place] & _LOW)


@inlined
def _sort_key(rank: Uint32s, element: np.uint32) -> np.uint64:
    if element == UNKNOWN:
        return np.uint64(UNKNOWN)
    return (np.uint64(UNKNOWN - rank[element]) << np.uint64(32)) | np.uint64(element)


@kernel
def _sort(order: Uint64s, count: int) -> None:
    if count > 48:
        order[:count].sort()
        return
    for place in range(1, count):
        value = order[place]
        to = place
        while to > 0 and order[to - 1] > value:
            order[to] = order[to - 1]
            to -= 1
        order[to] = value


@inlined
def _repeated(strings: Strings, word: np.uint32, occurrence: int, is_adding: bool) -> np.uint32:
    """Return the element of a repeated word, kept among the words as 9 bytes that no word can be."""
    letters = np.empty(9, np.uint8)
    letters[0] = 1
    for place in range(4):
        letters[1 + place] = (np.int64(word) >> (8 * place)) & 255
        letters[5 + place] = (occurrence >> (8 * place)) & 255
    return _number(strings, letters, 0, 9, hash_of(letters, 0, 9), is_adding)


@inlined
def signature_of(elements: Uint32s, wide: Uint64s) -> np.uint64:
    """Set one of 128 bits of `wide` for each known element, and return it folded to 64."""
    wide[0], wide[1] = _ZERO, _ZERO
    for element in elements:
        if element != UNKNOWN:
            bit = (np.uint64(element) * _GOLDEN) >> np.uint64(57)
            wide[np.int64(bit) >> 6] |= _ONE << (bit & np.uint64(63))
    return wide[0] | wide[1]


@inlined
def hash_of(letters: Bytes, begin: int, end: int) -> np.uint32:
    """Return the FNV-1a hash of letters[begin:end], folded to 32 bits."""
    value = _FNV_OFFSET
    for place in range(begin, end):
        value = (value ^ np.uint64(letters[place])) * _FNV_PRIME
    return fold(value)


@inlined
def fold(value: np.uint64) -> np.uint32:
    """Fold a 64-bit hash to 32 bits."""
    return np.uint32((value ^ (value >> np.uint64(32))) & np.uint64(UNKNOWN))


@inlined
def find(strings: Strings, letters: Bytes, begin: int, end: int, hashed: np.uint32) -> int:
    """Return the number of letters[begin:end], or -1."""
    return np.int64(strings.table[cell_of(strings, letters, begin, end, hashed)]) - 1


@inlined
def append(strings: Strings, letters: Bytes, begin: int, end: int, hashed: np.uint32) -> int:
    """Number letters[begin:end]; there must be room."""
    number = strings.total[0]
    start = strings.starts[number]
    for place in range(begin, end):
        strings.content[start + place - begin] = letters[place]
    strings.starts[number + 1] = start + end - begin
    strings.hashes[number] = hashed
    strings.table[cell_of(strings, letters, begin, end, hashed)] = number + 1
    strings.total[0] = number + 1
    return number


@kernel
def find_all(strings: Strings, letters: Bytes, ends: Int64s, numbers: Int64s) -> None:
    """Write the number of each string, or -1; they lie one after another."""
    begin = 0
    for at in range(len(ends)):
        numbers[at] = find(strings, letters, begin, ends[at], hash_of(letters, begin, ends[at]))
        begin = ends[at]


@kernel
def append_all(strings: Strings, letters: Bytes, starts: Int64s, numbers: Int64s) -> None:
    """Number strings of another collection, in the order given; there must be room."""
    for number in numbers:
        begin, end = starts[number], starts[number + 1]
        append(strings, letters, begin, end, hash_of(letters, begin, end))


@inlined
def cell_of(strings: Strings, letters: Bytes, begin: int, end: int, hashed: np.uint32) -> int:
    """Return the cell of the table that holds letters[begin:end], or the empty one where it belongs."""
    last = len(strings.table) - 1
    cell = np.int64(hashed) & last
    while strings.table[cell] != 0:
        number = np.int64(strings.table[cell]) - 1
        if strings.hashes[number] == hashed and _equals(strings, number, letters, begin, end):
            return cell
        cell = (cell + 1) & last
    return cell


@inlined
def _equals(strings: Strings, number: int, letters: Bytes, begin: int, end: int) -> bool:
    start = strings.starts[number]
    if strings.starts[number + 1] - start != end - begin:
        return False
    for place in range(end - begin):  # noqa: SIM110 - a generator would not compile
        if strings.content[start + place] != letters[begin + place]:
            return False
    return True


@kernel
def rehash(table: Uint32s, hashes: Uint32s, count: int) -> None:
    """Fill an empty table with the numbers of `count` strings; of equal strings, the latest is found."""
    last = len(table) - 1
    for number in range(count - 1, -1, -1):
        cell = np.int64(hashes[number]) & last
        while table[cell] != 0:
            cell = (cell + 1) & last
        table[cell] = number + 1
