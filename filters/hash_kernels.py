"""Compiled parts of the benchmark check: words, stretches of text and n-grams as hashes.

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


@kernel
def new_scratch(length: int) -> Scratch:
    """Make room for a row of that many bytes."""
    words = length // 2 + 4
    letters, starts = np.zeros(length + 2, np.uint64), np.zeros(words, np.int64)
    is_start = np.zeros(length + 2, np.uint8)
    hashes, grams, ids = np.empty(words, np.uint64), np.empty(words, np.uint64), np.empty(words, np.int32)
    return Scratch(letters, starts, is_start, hashes, grams, ids, np.empty(words, np.uint32))
