"""Compiled parts of MinHash: shingles, their hashes, signatures, exact Jaccard, banded lookup.

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
Links: TypeAlias = npt.NDArray[np.int32]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words64: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Scores: TypeAlias = npt.NDArray[np.float64]


class Tables(NamedTuple):
    """The arrays of an index: a table from band keys to chains of entries, and what each entry holds."""

    keys: Words64
    """Open addressing by linear probing; 0 is empty."""
    heads: Links
    """The newest entry of each key's chain."""
    links: Links
    """The next older entry of the chain, for (entry, band); -1 ends it."""
    bounds: Ints
    """Where an entry's shingles begin and end in `arena`."""
    arena: Words64
    is_alive: Flags
    tasks: Words64
    instructions: Words64
    seen: Ints
    """The last query that looked at an entry."""


class Query(NamedTuple):
    """A text that is compared, see `MinHashIndex.nearest`."""

    signature: Words32
    shingles: Words64
    task: np.uint64
    instruction: np.uint64


@kernel
def split_words(buffer: Bytes, begin: int, end: int, text: Bytes, starts: Ints, ends: Ints) -> int:
    """Copy the words of `buffer[begin:end]`, lower-cased, with one space between; return their number.

    A word byte is an ASCII letter or digit or any byte from 0x80; `starts` and `ends` delimit the words in `text`.
    """
    count = 0
    written = 0
    inside = False
    for position in range(begin, end):
        byte = buffer[position]
        if 65 <= byte <= 90:
            byte = np.uint8(byte + 32)
        if byte >= 128 or 97 <= byte <= 122 or 48 <= byte <= 57:
            if not inside:
                if written > 0:
                    text[written] = np.uint8(32)
                    written += 1
                starts[count] = written
                inside = True
            text[written] = byte
            written += 1
        elif inside:
            ends[count] = written
            count += 1
            inside = False
    if inside:
        ends[count] = written
        count += 1
    return count


@kernel
def hash_shingles(text: Bytes, starts: Ints, ends: Ints, words: int, size: int, hashes: Words64) -> int:
    """Hash every run of `size` words (all words, where there are fewer) to the first 64 bits of its SHA-1."""
    count = max(words - size + 1, min(words, 1))
    schedule = np.zeros(SCHEDULE_SIZE, np.uint32)
    high, low = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    shingle_of = np.empty(LANES, np.int64)
    filled = 0
    for shingle in range(count):
        begin = starts[shingle]
        length = ends[min(shingle + size, words) - 1] - begin
        if length > LONGEST:
            hashes[shingle] = hash_long(text, begin, length)
        else:
            load_lane(text, begin, length, filled, schedule)
            shingle_of[filled] = shingle
            filled += 1
        if filled == LANES or (filled > 0 and shingle == count - 1):
            hash_lanes(schedule, high, low)
            for lane in range(filled):
                hashes[shingle_of[lane]] = U64((U64(high[lane]) << U64(32)) | U64(low[lane]))
            filled = 0
    return count


@kernel
def sign(hashes: Words64, count: int, multipliers: Words32, offsets: Words32, signature: Words32) -> None:
    """Write the signature: the least a*h + b modulo 2^32 over all shingles, for each permutation."""
    for permutation in range(len(multipliers)):
        signature[permutation] = U32(0xFFFFFFFF)
    for shingle in range(count):
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
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    text = np.empty(longest + longest // 2 + 2, np.uint8)
    starts = np.empty(longest // 2 + 2, np.int64)
    ends = np.empty(longest // 2 + 2, np.int64)
    hash_bounds[0] = 0
    width = len(multipliers)
    for row in range(len(bounds) - 1):
        words = split_words(buffer, bounds[row], bounds[row + 1], text, starts, ends)
        first = hash_bounds[row]
        count = hash_shingles(text, starts, ends, words, size, hashes[first:])
        sign(hashes[first:], count, multipliers, offsets, signatures[row * width : (row + 1) * width])
        hash_bounds[row + 1] = first + count


@kernel
def sort_unique(values: Words64) -> int:
    """Sort in place, the distinct values first; return their number."""
    values.sort()
    kept = 0
    for at in range(len(values)):
        if at == 0 or values[at] != values[kept - 1]:
            values[kept] = values[at]
            kept += 1
    return kept


@kernel
def common_values(first: Words64, second: Words64) -> int:
    """Count the values that stand in both of two sorted arrays of distinct values."""
    shared = 0
    i = 0
    j = 0
    while i < len(first) and j < len(second):
        left, right = first[i], second[j]
        if left == right:
            shared += 1
        i += left <= right
        j += right <= left
    return shared


@kernel
def _band_key(signature: Words32, band: int, rows: int) -> np.uint64:
    key = U64(U64(band + 1) * U64(0x9E3779B97F4A7C15))
    for row in range(rows):
        key = U64((key ^ U64(signature[band * rows + row])) * U64(0xD6E8FEB86659FD93))
        key = U64(key ^ (key >> U64(32)))
    return U64(key | U64(1))  # 0 marks an empty slot


@kernel
def place_of(keys: Words64, key: np.uint64) -> int:
    """Return the slot that holds `key`, or the empty one where it belongs; the table is never full."""
    mask = U64(len(keys) - 1)
    slot = U64((key >> U64(20)) & mask)
    while keys[slot] != U64(0) and keys[slot] != key:
        slot = U64((slot + U64(1)) & mask)
    return int(slot)


@kernel
def rehash(old_keys: Words64, old_heads: Links, keys: Words64, heads: Links) -> None:
    """Carry all chains over into a larger table."""
    for slot in range(len(old_keys)):
        if old_keys[slot] != U64(0):
            place = place_of(keys, old_keys[slot])
            keys[place] = old_keys[slot]
            heads[place] = old_heads[slot]


@kernel
def _is_passed_over(tables: Tables, query: Query, entry: int) -> bool:
    """Say whether an entry is gone, or has its instruction in common with the query."""
    if not tables.is_alive[entry]:
        return True
    if query.instruction == U64(0) or tables.instructions[entry] == U64(0):
        return False
    return bool(tables.tasks[entry] == query.task or tables.instructions[entry] == query.instruction)


@kernel
def _jaccard(tables: Tables, query: Query, entry: int, least: float) -> float:
    """Return the exact Jaccard, or 0 where the lengths alone keep it below `least`."""
    ours, others = len(query.shingles), tables.bounds[2 * entry + 1] - tables.bounds[2 * entry]
    if min(ours, others) < least * max(ours, others):
        return 0.0
    shared = common_values(query.shingles, tables.arena[tables.bounds[2 * entry] : tables.bounds[2 * entry + 1]])
    return float(shared / (ours + others - shared))


@kernel
def _best_in_chain(
    tables: Tables, query: Query, entry: int, band: int, bands: int, turn: int, best: int, found: Scores
) -> int:
    """Follow a chain from an entry on; return the best so far, whose Jaccard is `found[0]`, ties to the first."""
    links, seen = tables.links, tables.seen
    while entry >= 0:
        if seen[entry] != turn:
            seen[entry] = turn
            if not _is_passed_over(tables, query, entry):
                score = _jaccard(tables, query, entry, found[0])
                if score > found[0] or (score == found[0] and score > 0.0 and entry < best):
                    found[0] = score
                    best = entry
        entry = int(links[entry * bands + band])
    return best


@kernel
def find_nearest(tables: Tables, query: Query, bands: int, rows: int, turn: int, found: Scores) -> int:
    """Return the entry of greatest exact Jaccard among those that share a band, -1 for none."""
    best = -1
    found[0] = 0.0
    for band in range(bands):
        slot = place_of(tables.keys, _band_key(query.signature, band, rows))
        if tables.keys[slot] != U64(0):
            best = _best_in_chain(tables, query, int(tables.heads[slot]), band, bands, turn, best, found)
    return best


@kernel
def take_entries(
    tables: Tables, signatures: Words32, first: int, bands: int, rows: int, turn: int, best: Ints, scores: Scores
) -> int:
    """For each new entry from `first` on, whose fields stand in the tables, find the nearest before it and link it.

    Return how many slots of the table are newly filled. The entries take `turn` and those after it.
    """
    keys, heads, links, bounds = tables.keys, tables.heads, tables.links, tables.bounds
    slots = np.empty(bands, np.int64)
    width = len(signatures) // len(best)
    fresh = 0
    for number in range(len(best)):
        entry = first + number
        signature = signatures[number * width : (number + 1) * width]
        shingles = tables.arena[bounds[2 * entry] : bounds[2 * entry + 1]]
        query = Query(signature, shingles, tables.tasks[entry], tables.instructions[entry])
        found = scores[number : number + 1]
        found[0] = 0.0
        nearest = -1
        for band in range(bands):
            key = _band_key(signature, band, rows)
            slots[band] = place_of(keys, key)
            if keys[slots[band]] == U64(0):
                keys[slots[band]] = key
                heads[slots[band]] = np.int32(-1)
                fresh += 1
            elif heads[slots[band]] >= 0:
                head = int(heads[slots[band]])
                nearest = _best_in_chain(tables, query, head, band, bands, turn + number, nearest, found)
        best[number] = nearest
        for band in range(bands):
            links[entry * bands + band] = heads[slots[band]]
            heads[slots[band]] = np.int32(entry)
    return fresh
