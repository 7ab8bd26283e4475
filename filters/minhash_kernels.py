"""Compiled parts of the MinHash index: banded lookup, and the exact Jaccard of what it finds."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel

U32: type[np.uint32] = np.uint32
U64: type[np.uint64] = np.uint64
Ints: TypeAlias = npt.NDArray[np.int64]
Links: TypeAlias = npt.NDArray[np.int32]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words64: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Scores: TypeAlias = npt.NDArray[np.float64]

HEAD_BITS = 28
"""Bits of a slot that number an entry, which bounds an index to 2^28 - 1; the other 36 are the band's key."""
_HEAD = U64((1 << HEAD_BITS) - 1)


class Tables(NamedTuple):
    """The arrays of an index: a table from band keys to chains of entries, and what each entry holds."""

    slots: Words64
    """Open addressing by linear probing: a key and 1 + the newest entry of its chain, in one word; 0 is empty."""
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

    shingles: Words64
    task: np.uint64
    instruction: np.uint64


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
def _band_key(signatures: Words32, begin: int, band: int, rows: int) -> np.uint64:
    """Mix a band's values into the upper 36 bits; bands with equal keys are candidates, which are compared exactly."""
    key = U64(U64(band + 1) * U64(0x9E3779B97F4A7C15))
    first = U64(begin + band * rows)
    for value in range(first, first + U64(rows)):
        key = U64((key ^ U64(signatures[value])) * U64(0xD6E8FEB86659FD93))
        key = U64(key ^ (key >> U64(32)))
    return U64(U64(key * U64(0x9E3779B97F4A7C15)) & ~_HEAD)


@kernel
def _home_of(slots: Words64, key: np.uint64) -> np.uint64:
    """Return the slot where the search for a key begins."""
    return U64((key >> U64(HEAD_BITS)) & U64(len(slots) - 1))


@kernel
def _place_of(slots: Words64, key: np.uint64, slot: np.uint64) -> np.uint64:
    """Return, from its home on, the slot that holds `key`, or the empty one where it belongs; one always is."""
    mask = U64(len(slots) - 1)
    while slots[slot] != U64(0) and (slots[slot] & ~_HEAD) != key:
        slot = U64((slot + U64(1)) & mask)
    return slot


class Probes(NamedTuple):
    """What is known of a text's bands before the table is searched."""

    keys: Words64
    homes: Words64
    words: Words64
    """What stood in each home. Read together, before any is looked at: so the waits for memory overlap."""


@kernel
def _probes_for(bands: int) -> Probes:
    return Probes(np.empty(bands, np.uint64), np.empty(bands, np.uint64), np.empty(bands, np.uint64))


@kernel
def _fill_probes(slots: Words64, signatures: Words32, begin: int, rows: int, probes: Probes) -> None:
    """Fill them for the signature that begins at `begin`."""
    for band in range(len(probes.keys)):
        probes.keys[band] = _band_key(signatures, begin, band, rows)
        probes.homes[band] = _home_of(slots, probes.keys[band])
    for band in range(len(probes.keys)):
        probes.words[band] = slots[probes.homes[band]]


@kernel
def _probe(slots: Words64, probes: Probes, band: int) -> np.uint64:
    """Return the slot of a band, as `_place_of` does; a slot never changes its key."""
    if probes.words[band] != U64(0) and (probes.words[band] & ~_HEAD) == probes.keys[band]:
        return U64(probes.homes[band])
    return _place_of(slots, probes.keys[band], probes.homes[band])


@kernel
def rehash(old: Words64, slots: Words64) -> None:
    """Carry all chains over into a larger table; gathered first, since which slots are empty cannot be predicted."""
    filled = np.empty(len(old) + 1, np.uint64)
    count = U64(0)
    for slot in range(len(old)):
        filled[count] = old[slot]
        count += U64(old[slot] != U64(0))
    for number in range(count):
        key = U64(filled[number] & ~_HEAD)
        slots[_place_of(slots, key, _home_of(slots, key))] = filled[number]


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
def find_nearest(
    tables: Tables, query: Query, signature: Words32, bands: int, rows: int, turn: int, found: Scores
) -> int:
    """Return the entry of greatest exact Jaccard among those that share a band, -1 for none."""
    probes = _probes_for(bands)
    _fill_probes(tables.slots, signature, 0, rows, probes)
    best = -1
    found[0] = 0.0
    for band in range(bands):
        head = int(np.int64(tables.slots[_probe(tables.slots, probes, band)] & _HEAD)) - 1
        if head >= 0:
            best = _best_in_chain(tables, query, head, band, bands, turn, best, found)
    return best


@kernel
def find_nearest_of_each(
    tables: Tables,
    signatures: Words32,
    shingles: Words64,
    shingle_bounds: Ints,
    tasks: Words64,
    instructions: Words64,
    bands: int,
    rows: int,
    turn: int,
    best: Ints,
    scores: Scores,
) -> None:
    """Do as `find_nearest` does for many texts, which take `turn` and those after it."""
    width = len(signatures) // len(best)
    for number in range(len(best)):
        query = Query(
            shingles[shingle_bounds[number] : shingle_bounds[number + 1]], tasks[number], instructions[number]
        )
        signature, found = signatures[number * width : (number + 1) * width], scores[number : number + 1]
        best[number] = find_nearest(tables, query, signature, bands, rows, turn + number, found)


@kernel
def take_entries(
    tables: Tables, signatures: Words32, first: int, bands: int, rows: int, turn: int, best: Ints, scores: Scores
) -> int:
    """For each new entry from `first` on, whose fields stand in the tables, find the nearest before it and link it.

    Return how many slots of the table are newly filled. The entries take `turn` and those after it.
    """
    slots, links = tables.slots, tables.links
    probes, width = _probes_for(bands), len(signatures) // len(best)
    fresh = 0
    for number in range(len(best)):
        entry = first + number
        best[number], scores[number] = -1, 0.0
        _fill_probes(slots, signatures, number * width, rows, probes)
        for band in range(bands):
            slot = _probe(slots, probes, band)
            head = int(np.int64(slots[slot] & _HEAD)) - 1
            if head == entry:  # two of its bands have one key, by chance
                links[entry * bands + band] = -1
                continue
            if head >= 0:
                query = Query(
                    tables.arena[tables.bounds[2 * entry] : tables.bounds[2 * entry + 1]],
                    tables.tasks[entry],
                    tables.instructions[entry],
                )
                found = scores[number : number + 1]
                best[number] = _best_in_chain(tables, query, head, band, bands, turn + number, int(best[number]), found)
            else:
                fresh += 1
            links[entry * bands + band] = head
            slots[slot] = U64(probes.keys[band] | U64(entry + 1))
    return fresh


@kernel
def sort_rows(hashes: Words64, bounds: Ints, sorted_bounds: Ints) -> None:
    """Sort the hashes of each row and keep the distinct ones; rows move together, to `sorted_bounds`."""
    sorted_bounds[0] = 0
    for row in range(len(bounds) - 1):
        of_row = hashes[bounds[row] : bounds[row + 1]]
        kept, first = sort_unique(of_row), sorted_bounds[row]
        for at in range(kept):
            hashes[first + at] = of_row[at]
        sorted_bounds[row + 1] = first + kept
