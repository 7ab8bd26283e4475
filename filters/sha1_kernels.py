"""SHA-1 (FIPS 180-4, section 6.1.2) of sixteen short messages side by side.

The lanes are independent, so the compiler turns each step into one vector instruction. It is here because
`datasketch` hashes shingles with SHA-1 by default and our signatures are bit-identical to its own; nothing rests on
SHA-1 being safe.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel

U32: type[np.uint32] = np.uint32
U64: type[np.uint64] = np.uint64
Bytes: TypeAlias = npt.NDArray[np.uint8]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words64: TypeAlias = npt.NDArray[np.uint64]
Word: TypeAlias = np.uint32
State: TypeAlias = tuple[Word, Word, Word, Word, Word]

LANES = 16
"""Messages at once: 16 lanes of 32 bits are one AVX-512 or two AVX2 registers."""
SCHEDULE_SIZE = 80 * LANES
"""Length of the array that holds the message schedules, step by step, lanes side by side."""
LONGEST = 55
"""Bytes of the longest message that fits one block of 64 with its padding."""

_H0, _H1, _H2, _H3, _H4 = U32(0x67452301), U32(0xEFCDAB89), U32(0x98BADCFE), U32(0x10325476), U32(0xC3D2E1F0)


@kernel
def _rotate(value: Word, bits: int) -> Word:
    return U32(U32(value << U32(bits)) | (value >> U32(32 - bits)))


@kernel
def _choose(b: Word, c: Word, d: Word) -> Word:
    return U32(d ^ (b & (c ^ d)))


@kernel
def _parity(b: Word, c: Word, d: Word) -> Word:
    return U32(b ^ c ^ d)


@kernel
def _majority(b: Word, c: Word, d: Word) -> Word:
    return U32((b & c) | (d & (b | c)))


@kernel
def _five_choosing(w: Words32, at: int, a: Word, b: Word, c: Word, d: Word, e: Word) -> State:
    """Take five of the steps 0 to 19; after five the state words bear their own names again."""
    e, b = U32(e + _rotate(a, 5) + _choose(b, c, d) + U32(0x5A827999) + w[at]), _rotate(b, 30)
    d, a = U32(d + _rotate(e, 5) + _choose(a, b, c) + U32(0x5A827999) + w[at + LANES]), _rotate(a, 30)
    c, e = U32(c + _rotate(d, 5) + _choose(e, a, b) + U32(0x5A827999) + w[at + 2 * LANES]), _rotate(e, 30)
    b, d = U32(b + _rotate(c, 5) + _choose(d, e, a) + U32(0x5A827999) + w[at + 3 * LANES]), _rotate(d, 30)
    a, c = U32(a + _rotate(b, 5) + _choose(c, d, e) + U32(0x5A827999) + w[at + 4 * LANES]), _rotate(c, 30)
    return a, b, c, d, e


@kernel
def _five_early(w: Words32, at: int, a: Word, b: Word, c: Word, d: Word, e: Word) -> State:
    """Take five of the steps 20 to 39."""
    e, b = U32(e + _rotate(a, 5) + _parity(b, c, d) + U32(0x6ED9EBA1) + w[at]), _rotate(b, 30)
    d, a = U32(d + _rotate(e, 5) + _parity(a, b, c) + U32(0x6ED9EBA1) + w[at + LANES]), _rotate(a, 30)
    c, e = U32(c + _rotate(d, 5) + _parity(e, a, b) + U32(0x6ED9EBA1) + w[at + 2 * LANES]), _rotate(e, 30)
    b, d = U32(b + _rotate(c, 5) + _parity(d, e, a) + U32(0x6ED9EBA1) + w[at + 3 * LANES]), _rotate(d, 30)
    a, c = U32(a + _rotate(b, 5) + _parity(c, d, e) + U32(0x6ED9EBA1) + w[at + 4 * LANES]), _rotate(c, 30)
    return a, b, c, d, e


@kernel
def _five_majority(w: Words32, at: int, a: Word, b: Word, c: Word, d: Word, e: Word) -> State:
    """Take five of the steps 40 to 59."""
    e, b = U32(e + _rotate(a, 5) + _majority(b, c, d) + U32(0x8F1BBCDC) + w[at]), _rotate(b, 30)
    d, a = U32(d + _rotate(e, 5) + _majority(a, b, c) + U32(0x8F1BBCDC) + w[at + LANES]), _rotate(a, 30)
    c, e = U32(c + _rotate(d, 5) + _majority(e, a, b) + U32(0x8F1BBCDC) + w[at + 2 * LANES]), _rotate(e, 30)
    b, d = U32(b + _rotate(c, 5) + _majority(d, e, a) + U32(0x8F1BBCDC) + w[at + 3 * LANES]), _rotate(d, 30)
    a, c = U32(a + _rotate(b, 5) + _majority(c, d, e) + U32(0x8F1BBCDC) + w[at + 4 * LANES]), _rotate(c, 30)
    return a, b, c, d, e


@kernel
def _five_late(w: Words32, at: int, a: Word, b: Word, c: Word, d: Word, e: Word) -> State:
    """Take five of the steps 60 to 79."""
    e, b = U32(e + _rotate(a, 5) + _parity(b, c, d) + U32(0xCA62C1D6) + w[at]), _rotate(b, 30)
    d, a = U32(d + _rotate(e, 5) + _parity(a, b, c) + U32(0xCA62C1D6) + w[at + LANES]), _rotate(a, 30)
    c, e = U32(c + _rotate(d, 5) + _parity(e, a, b) + U32(0xCA62C1D6) + w[at + 2 * LANES]), _rotate(e, 30)
    b, d = U32(b + _rotate(c, 5) + _parity(d, e, a) + U32(0xCA62C1D6) + w[at + 3 * LANES]), _rotate(d, 30)
    a, c = U32(a + _rotate(b, 5) + _parity(c, d, e) + U32(0xCA62C1D6) + w[at + 4 * LANES]), _rotate(c, 30)
    return a, b, c, d, e


@kernel
def _four_bytes(text: Bytes, at: np.uint64) -> Word:
    """Return four bytes as a number, big-endian; unsigned indices let the compiler read them at once."""
    first, second = U32(text[at]) << U32(24), U32(text[at + U64(1)]) << U32(16)
    return U32(first | second | (U32(text[at + U64(2)]) << U32(8)) | U32(text[at + U64(3)]))


@kernel
def load_lane(text: Bytes, begin: int, length: int, lane: int, schedule: Words32, ends: Words64) -> None:
    """Write a message of at most `LONGEST` bytes, padded to one block, into a lane.

    Four bytes after the message must be readable. `ends` holds where the padding of each lane's last message ended,
    so that only what it left is set to zero; before the first it is `SCHEDULE_SIZE`.
    """
    source, at = U64(begin), U64(lane)
    end = at + (U64(length) >> U64(2)) * U64(LANES)
    while at < end:
        schedule[at] = _four_bytes(text, source)
        source += U64(4)
        at += U64(LANES)
    bits = U32((U64(length) & U64(3)) << U64(3))
    kept = U32(~U32(U32(0xFFFFFFFF) >> bits))
    schedule[end] = U32((_four_bytes(text, source) & kept) | U32(U32(0x80000000) >> bits))
    length_at = U64(15 * LANES) + U64(lane)
    for unused in range(end + U64(LANES), min(ends[lane] + U64(1), length_at), U64(LANES)):
        schedule[unused] = U32(0)
    schedule[length_at] = U32(length * 8)
    ends[lane] = end


@kernel
def hash_lanes(schedule: Words32, high: Words32, low: Words32) -> None:
    """Hash all lanes; `high` and `low` get the first and second four bytes of each hash, big-endian.

    The schedule is one loop, and the steps are written out: loops inside the loop over lanes would stay scalar.
    """
    for at in range(16 * LANES, 80 * LANES):
        mixed = schedule[at - 3 * LANES] ^ schedule[at - 8 * LANES]
        schedule[at] = _rotate(U32(mixed ^ schedule[at - 14 * LANES] ^ schedule[at - 16 * LANES]), 1)
    for lane in range(LANES):
        a, b, c, d, e = _H0, _H1, _H2, _H3, _H4
        a, b, c, d, e = _five_choosing(schedule, lane, a, b, c, d, e)
        a, b, c, d, e = _five_choosing(schedule, lane + 5 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_choosing(schedule, lane + 10 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_choosing(schedule, lane + 15 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_early(schedule, lane + 20 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_early(schedule, lane + 25 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_early(schedule, lane + 30 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_early(schedule, lane + 35 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_majority(schedule, lane + 40 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_majority(schedule, lane + 45 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_majority(schedule, lane + 50 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_majority(schedule, lane + 55 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_late(schedule, lane + 60 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_late(schedule, lane + 65 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_late(schedule, lane + 70 * LANES, a, b, c, d, e)
        a, b, c, d, e = _five_late(schedule, lane + 75 * LANES, a, b, c, d, e)
        high[lane] = U32(a + _H0)
        low[lane] = U32(b + _H1)


@kernel
def _block_word(text: Bytes, begin: int, length: int, at: int) -> np.uint32:
    """Return four bytes of a message with its padding, big-endian, from byte `at`."""
    value = U32(0)
    for byte in range(at, at + 4):
        piece = U32(0)
        if byte < length:
            piece = U32(text[begin + byte])
        elif byte == length:
            piece = U32(0x80)
        value = U32(U32(value << U32(8)) | piece)
    return value


@kernel
def hash_long(text: Bytes, begin: int, length: int) -> np.uint64:
    """Hash one message of any length; return the first eight bytes, big-endian."""
    h0, h1, h2, h3, h4 = _H0, _H1, _H2, _H3, _H4
    schedule = np.empty(80, np.uint32)
    last = (length + 8) // 64
    for block in range(last + 1):
        for word in range(16):
            schedule[word] = _block_word(text, begin, length, 64 * block + 4 * word)
        if block == last:
            schedule[14] = U32((length * 8) >> 32)
            schedule[15] = U32((length * 8) & 0xFFFFFFFF)
        for step in range(16, 80):
            mixed = schedule[step - 3] ^ schedule[step - 8]
            schedule[step] = _rotate(U32(mixed ^ schedule[step - 14] ^ schedule[step - 16]), 1)
        a, b, c, d, e = h0, h1, h2, h3, h4
        for step in range(80):
            if step < 20:
                mixed = U32(_choose(b, c, d) + U32(0x5A827999))
            elif step < 40:
                mixed = U32(_parity(b, c, d) + U32(0x6ED9EBA1))
            elif step < 60:
                mixed = U32(_majority(b, c, d) + U32(0x8F1BBCDC))
            else:
                mixed = U32(_parity(b, c, d) + U32(0xCA62C1D6))
            fresh = U32(_rotate(a, 5) + mixed + e + schedule[step])
            e, d, c, b, a = d, c, _rotate(b, 30), a, fresh
        h0, h1, h2, h3, h4 = U32(h0 + a), U32(h1 + b), U32(h2 + c), U32(h3 + d), U32(h4 + e)
    return U64((U64(h0) << U64(32)) | U64(h1))
