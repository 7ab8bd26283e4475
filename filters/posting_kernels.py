"""Kernels that keep entries and their postings.

An entry of b words is listed under its rarest b - least + 1 elements only (`docs/novelty.md` proves that this
loses no pair). A posting is two words of 64 bits: entry number, length and place of the element; and the entry's
signature, in which each element sets one bit. The postings of all entries as of the last rebuild are packed,
element by element; those that came since lie in linked chunks, split by length where an element has many.
"""

# mypy: disable-error-code="arg-type, assignment, no-any-return, operator, return-value"
# In a kernel numpy's integers and Python's are the same; only signed and unsigned differ.

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import inlined, kernel
from seedbed.filters.lcs_kernels import TABLE_WORDS, Rule, least_lcs, shortest_partner
from seedbed.filters.word_kernels import (
    Bytes,
    Int32s,
    Int64s,
    Strings,
    Uint32s,
    Uint64s,
    number_words,
    order_elements,
    signature_of,
)

BUCKETS = 76
"""Classes of length: 0 to 31 words one each, then four to the octave, the last from 65,535."""
WORST_WORDS_PER_POSTING = 256
"""64-bit words that one posting may take in the arena, new chunks and a split included."""
CHUNK = 32
"""Most postings in a chunk."""
IS_SPLIT = np.uint32(0xFFFFFFFF)
"""Instead of a count: the list of this element is split by length."""
SATURATED = 65535
"""Lengths and places in a posting stop here; longer entries are asked for their length."""

_SPLIT = 32
_LOW16 = np.uint64(0xFFFF)


class Entries(NamedTuple):
    """The texts of an index, by entry number."""

    starts: Int64s
    """Where each entry begins in `words`; the one after the last begins at its end."""
    words: Uint32s
    is_alive: Bytes
    seen: Uint32s
    """The latest search that looked at this entry."""
    signatures: Uint64s  # (entries, 2)
    """128 bits each; folded to 64 in postings."""
    counts: Int64s
    """Entries; searches so far."""


class Lists(NamedTuple):
    """The postings, by element."""

    rank: Uint32s
    """Place of an element in the order by frequency; rarer is greater, and so is newer."""
    heads: Uint32s
    """Where an element's newest chunk begins in `arena`; or its row in `split_heads`."""
    counts: Uint32s
    """Postings of an element; or `IS_SPLIT`."""
    split_heads: npt.NDArray[np.uint32]  # (rows, BUCKETS)
    split_counts: npt.NDArray[np.uint32]  # (rows, BUCKETS)
    arena: Uint64s
    """Chunks: a link to the older chunk, then its postings."""
    used: Int64s
    """Words used of `arena`; rows used of `split_heads`."""


class Packed(NamedTuple):
    """The postings as of the last rebuild, by element and, where an element has many, by class of length."""

    starts: Int64s
    """Where the postings of each element begin in `postings`; one more than elements."""
    rows: Int32s
    """Row of a frequent element in `splits`; -1 for others."""
    splits: npt.NDArray[np.uint32]  # (rows, BUCKETS + 1)
    """Where each class of length begins, counted from the element's start."""
    postings: Uint64s


@kernel
def append_texts(strings: Strings, entries: Entries, letters: Bytes, ends: Int64s) -> None:
    """Append many texts; the first begins at 0, and each other where the one before it ends."""
    begin = 0
    for end in ends:
        append_text(strings, entries, letters, begin, end)
        begin = end


@inlined
def append_text(strings: Strings, entries: Entries, letters: Bytes, begin: int, end: int) -> None:
    """Number the words of a text as the next entry, not yet listed; there must be room."""
    entry = entries.counts[0]
    start = entries.starts[entry]
    count = number_words(strings, letters, begin, end, entries.words[start:], True)
    entries.starts[entry + 1] = start + count
    entries.is_alive[entry] = 1
    entries.counts[0] = entry + 1
    entries.counts[2] = max(entries.counts[2], count)


@kernel
def list_entries(
    strings: Strings, entries: Entries, lists: Lists, floor: Rule, first: int, order: Uint64s, elements: Uint32s
) -> int:
    """List the entries from `first` on, and return the first that there was no room for."""
    for entry in range(first, entries.counts[0]):
        words = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        depth = depth_of(floor, len(words))
        if not has_room(strings, lists, len(words), depth):
            return entry
        ordered = elements[: len(words)]
        order_elements(strings, lists.rank, words, order, ordered, True)
        add_postings(lists, ordered, entry, signature_of(ordered, entries.signatures[entry]), depth)
    return entries.counts[0]


@kernel
def has_room(strings: Strings, lists: Lists, words: int, depth: int) -> bool:
    """Say whether an entry can be listed without growing an array."""
    return (
        strings.total[0] + words <= len(lists.rank)
        and strings.starts[strings.total[0]] + 9 * words <= len(strings.content)
        and lists.used[0] + depth * WORST_WORDS_PER_POSTING <= len(lists.arena)
        and lists.used[1] + depth <= len(lists.split_heads)
    )


@kernel
def add_postings(lists: Lists, elements: Uint32s, entry: int, signature: np.uint64, depth: int) -> None:
    """List an entry under its first `depth` elements; there must be room."""
    length = len(elements)
    for place in range(depth):
        element = np.int64(elements[place])
        if lists.counts[element] == _SPLIT:
            _split(lists, element)
        posting = _posting_of(entry, length, place)
        if lists.counts[element] == IS_SPLIT:
            row = np.int64(lists.heads[element])
            _push(lists, lists.split_heads[row], lists.split_counts[row], bucket_of(length), posting, signature)
        else:
            _push(lists, lists.heads, lists.counts, element, posting, signature)


@inlined
def _push(lists: Lists, heads: Uint32s, counts: Uint32s, at: int, posting: np.uint64, signature: np.uint64) -> None:
    count = np.int64(counts[at])
    if _is_full(count):
        offset = lists.used[0]
        lists.arena[offset] = np.uint64(heads[at])
        heads[at] = np.uint32(offset)
        lists.used[0] = offset + 1 + 2 * min(max(count, 1), CHUNK)
        base = count
    else:
        base = older(count)
    cell = np.int64(heads[at]) + 1 + 2 * (count - base)
    lists.arena[cell] = posting
    lists.arena[cell + 1] = signature
    counts[at] = np.uint32(count + 1)


@inlined
def _is_full(count: int) -> bool:
    """Chunks hold 1, 1, 2, 4 … postings up to `CHUNK` in all, and `CHUNK` each from there."""
    if count <= CHUNK:
        return (count & (count - 1)) == 0
    return count % CHUNK == 0


@inlined
def older(count: int) -> int:
    """Return how many of `count` postings stand in chunks older than the newest."""
    if count > CHUNK:
        return (count - 1) // CHUNK * CHUNK
    older = count - 1
    while older & (older - 1):
        older &= older - 1
    return older


@kernel
def _split(lists: Lists, element: int) -> None:
    """Move the postings of an element into lists by length."""
    row = lists.used[1]
    lists.used[1] = row + 1
    heads, counts = lists.split_heads[row], lists.split_counts[row]
    left = np.int64(lists.counts[element])
    offset = np.int64(lists.heads[element])
    while left > 0:
        base = older(left)
        for cell in range(offset + 1, offset + 1 + 2 * (left - base), 2):
            length = np.int64((lists.arena[cell] >> np.uint64(16)) & _LOW16)
            _push(lists, heads, counts, bucket_of(length), lists.arena[cell], lists.arena[cell + 1])
        offset = np.int64(lists.arena[offset])
        left = base
    lists.heads[element] = np.uint32(row)
    lists.counts[element] = IS_SPLIT


@inlined
def _posting_of(entry: int, length: int, place: int) -> np.uint64:
    sizes = (np.uint64(min(length, SATURATED)) << np.uint64(16)) | np.uint64(min(place, SATURATED))
    return (np.uint64(entry) << np.uint64(32)) | sizes


@inlined
def bucket_of(length: int) -> int:
    """Return the class of a length; all from `SATURATED` on share the last."""
    length = min(length, SATURATED)
    if length < 32:
        return length
    octave = 0
    while (length >> octave) >= 64:
        octave += 1
    return 32 + 4 * octave + (((length >> octave) - 32) >> 3)


@kernel
def depth_of(rule: Rule, count: int) -> int:
    """Return under how many elements an entry must be listed, so that any partner beyond the threshold meets it."""
    if count == 0:
        return 0
    is_tabled = count < TABLE_WORDS
    shortest = rule.lowest[count] if is_tabled else shortest_partner(count, rule.threshold, rule.is_strict)
    return count - least_lcs(count, shortest, rule.threshold, rule.is_strict) + 1


@kernel
def count_elements(
    strings: Strings, entries: Entries, lists: Lists, first: int, order: Uint64s, elements: Uint32s, frequency: Int64s
) -> int:
    """Count the entries that have each element, and return the first that there was no room for."""
    for entry in range(first, entries.counts[0]):
        words = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        if not has_room(strings, lists, len(words), 0):
            return entry
        order_elements(strings, lists.rank, words, order, elements[: len(words)], True)
        for place in range(len(words)):
            frequency[np.int64(elements[place])] += 1
    return entries.counts[0]


@kernel
def count_postings(
    strings: Strings, entries: Entries, packed: Packed, rank: Uint32s, floor: Rule, order: Uint64s, elements: Uint32s
) -> None:
    """Count the postings of each element; `starts[element + 1]` takes them. No repeated word may be new."""
    for entry in range(entries.counts[0]):
        words = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        order_elements(strings, rank, words, order, elements, False)
        signature_of(elements[: len(words)], entries.signatures[entry])
        for place in range(depth_of(floor, len(words))):
            packed.starts[np.int64(elements[place]) + 1] += 1


@kernel
def count_classes(
    strings: Strings, entries: Entries, packed: Packed, rank: Uint32s, floor: Rule, order: Uint64s, elements: Uint32s
) -> None:
    """Count the postings of frequent elements by class of length, each in the cell after its own."""
    for entry in range(entries.counts[0]):
        words = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        order_elements(strings, rank, words, order, elements, False)
        for place in range(depth_of(floor, len(words))):
            row = packed.rows[np.int64(elements[place])]
            if row >= 0:
                packed.splits[row, bucket_of(len(words)) + 1] += np.uint32(1)


@kernel
def pack_postings(
    strings: Strings,
    entries: Entries,
    packed: Packed,
    rank: Uint32s,
    floor: Rule,
    order: Uint64s,
    elements: Uint32s,
    filled: Int64s,
    filled_splits: npt.NDArray[np.uint32],
) -> None:
    """Write the postings where the counts have made room. `filled` and `filled_splits` count what is there."""
    for entry in range(entries.counts[0]):
        words = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        order_elements(strings, rank, words, order, elements, False)
        for place in range(depth_of(floor, len(words))):
            element = np.int64(elements[place])
            row = packed.rows[element]
            if row >= 0:
                bucket = bucket_of(len(words))
                at = packed.starts[element] + np.int64(packed.splits[row, bucket] + filled_splits[row, bucket])
                filled_splits[row, bucket] += np.uint32(1)
            else:
                at = packed.starts[element] + filled[element]
                filled[element] += 1
            packed.postings[2 * at] = _posting_of(entry, len(words), place)
            packed.postings[2 * at + 1] = entries.signatures[entry, 0] | entries.signatures[entry, 1]
