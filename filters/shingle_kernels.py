"""Compiled parts of MinHash before the index: words, shingles, their hashes, signatures.

A shingle's hash is the first 64 bits of its SHA-1; the first 32 are `datasketch.hashfunc.sha1_hash32`. `sign` is the
`affine32` scheme of datasketch 2.0: MurmurHash3's finalizer once, then a*h + b modulo 2^32, and the minimum.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel
from seedbed.filters.sha1_kernels import LANES, LONGEST, SCHEDULE_SIZE, hash_lanes, hash_long, load_lane

U32: type[np.uint32] = np.uint32
U64: type[np.uint64] = np.uint64
Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words64: TypeAlias = npt.NDArray[np.uint64]

_SPACE = np.uint8(32)
_SLACK = 8
"""Bytes that may be read, or written, past the end of a text."""


class Lanes(NamedTuple):
    """Shingles on their way through SHA-1, side by side."""

    schedule: Words32
    ends: Words64
    """See `load_lane`."""
    places: Ints
    """Where each one's hash belongs."""
    high: Words32
    low: Words32


def _written_bytes() -> Bytes:
    """Return what becomes of each byte: word bytes lower-cased, others a space."""
    written = np.full(256, _SPACE, np.uint8)
    for byte in range(256):
        if byte >= 128 or chr(byte).isalnum():
            written[byte] = ord(chr(byte).lower()) if byte < 128 else byte
    return written


_WRITTEN = _written_bytes()


@kernel
def split_words(buffer: Bytes, begin: int, end: int, text: Bytes, cuts: Ints) -> int:
    """Copy the words of `buffer[begin:end]`, lower-cased, with one space between; return their number.

    A word byte is an ASCII letter or digit or any byte from 0x80. Word w is `text[cuts[w] + 1 : cuts[w + 1]]`. Every
    byte is written and counted the same way, since what follows cannot be predicted.
    """
    count = U64(0)
    length = U64(0)
    was_word = U64(0)
    cuts[0] = -1
    for position in range(U64(begin), U64(end)):
        byte = _WRITTEN[buffer[position]]
        is_word = U64(byte != _SPACE)
        text[length] = byte
        cuts[count + U64(1)] = np.int64(length)
        count += was_word & ~is_word
        length += was_word | is_word
        was_word = is_word
    cuts[count + U64(1)] = np.int64(length)
    return int(np.int64(count + was_word))


@kernel
def _hash_lanes_into(lanes: Lanes, filled: int, hashes: Words64) -> None:
    hash_lanes(lanes.schedule, lanes.high, lanes.low)
    for lane in range(filled):
        hashes[lanes.places[lane]] = U64((U64(lanes.high[lane]) << U64(32)) | U64(lanes.low[lane]))


@kernel
def hash_shingles(
    text: Bytes, cuts: Ints, words: int, size: int, hashes: Words64, first: int, lanes: Lanes, filled: int
) -> int:
    """Hash every run of `size` words (all words, where there are fewer) to the first 64 bits of its SHA-1.

    They go to `hashes` from `first` on, the last of them when the lanes are full. Return how many lanes then are.
    """
    count = max(words - size + 1, min(words, 1))
    size = min(size, words)
    for shingle in range(count):
        begin = cuts[shingle] + 1
        length = cuts[shingle + size] - begin
        if length > LONGEST:
            hashes[first + shingle] = hash_long(text, begin, length)
            continue
        load_lane(text, begin, length, filled, lanes.schedule, lanes.ends)
        lanes.places[filled] = first + shingle
        filled += 1
        if filled == LANES:
            _hash_lanes_into(lanes, filled, hashes)
            filled = 0
    return filled


@kernel
def sign(hashes: Words64, multipliers: Words32, offsets: Words32, signature: Words32) -> None:
    """Write the signature: the least a*h + b modulo 2^32 over all shingles, for each permutation."""
    for permutation in range(len(multipliers)):
        signature[permutation] = U32(0xFFFFFFFF)
    for shingle in range(len(hashes)):
        high = U32(hashes[shingle] >> U64(32))
        value = U32(
            (high >> U32(24)) | ((high >> U32(8)) & U32(0xFF00)) | ((high & U32(0xFF00)) << U32(8)) | (high << U32(24))
        )  # sha1_hash32 reads the first four bytes little-endian
        value = U32((value ^ (value >> U32(16))) * U32(0x85EBCA6B))
        value = U32((value ^ (value >> U32(13))) * U32(0xC2B2AE35))
        value = U32(value ^ (value >> U32(16)))
        for permutation in range(len(multipliers)):
            signature[permutation] = min(
                signature[permutation], U32(U32(multipliers[permutation] * value) + offsets[permutation])
            )


@kernel
def sketch_rows(
    buffer: Bytes,
    bounds: Ints,
    size: int,
    multipliers: Words32,
    offsets: Words32,
    signatures: Words32,
    hashes: Words64,
    hash_bounds: Ints,
) -> None:
    """Sketch many texts: row r is `buffer[bounds[r]:bounds[r + 1]]`; its shingle hashes follow those of row r - 1."""
    rows, longest = len(bounds) - 1, 0
    for row in range(rows):
        longest = max(longest, bounds[row + 1] - bounds[row])
    text, cuts = np.empty(longest + _SLACK, np.uint8), np.empty(longest // 2 + _SLACK, np.int64)
    lanes = Lanes(
        np.zeros(SCHEDULE_SIZE, np.uint32),
        np.full(LANES, U64(SCHEDULE_SIZE)),
        np.empty(LANES, np.int64),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
    )
    filled = 0
    hash_bounds[0] = 0
    for row in range(rows):
        words = split_words(buffer, bounds[row], bounds[row + 1], text, cuts)
        first = hash_bounds[row]
        filled = hash_shingles(text, cuts, words, size, hashes, first, lanes, filled)
        hash_bounds[row + 1] = first + max(words - size + 1, min(words, 1))
    if filled:
        _hash_lanes_into(lanes, filled, hashes)
    width = len(multipliers)
    for row in range(rows):
        of_row = hashes[hash_bounds[row] : hash_bounds[row + 1]]
        sign(of_row, multipliers, offsets, signatures[row * width : (row + 1) * width])
