"""Kernels that search: bounds first, the LCS for what they let through."""

# mypy: disable-error-code="arg-type, assignment, no-any-return, operator, return-value"
# In a kernel numpy's integers and Python's are the same; only signed and unsigned differ.

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import inlined, kernel
from seedbed.filters.lcs_kernels import (
    TABLE_WORDS,
    Masks,
    Rule,
    bits_in,
    f_measure,
    fill_row,
    lcs_length,
    longest_partner,
    masks_for,
    set_masks,
    shortest_partner,
)
from seedbed.filters.posting_kernels import (
    CHUNK,
    IS_SPLIT,
    SATURATED,
    Entries,
    Lists,
    Packed,
    append_text,
    bucket_of,
    has_room,
    list_entries,
    older,
)
from seedbed.filters.word_kernels import (
    UNKNOWN,
    Bytes,
    Int64s,
    Strings,
    Uint32s,
    Uint64s,
    append,
    hash_of,
    number_words,
    order_elements,
    signature_of,
)

_LOW16 = np.uint64(0xFFFF)
_ZERO = np.uint64(0)


class Query(NamedTuple):
    """A text that is looked for."""

    words: Uint32s
    elements: Uint32s
    """Rarest first; unknown ones before all others."""
    signature: np.uint64
    wide: Uint64s
    """The signature before folding, 128 bits."""
    known: int
    """Elements that some entry may have."""


class Bounds(NamedTuple):
    """What an entry must satisfy to be compared with the query."""

    length: int
    """Words of the query."""
    known: int
    signature: np.uint64
    lowest: int
    highest: int
    row: Uint32s
    """Least LCS length for each admissible length of an entry."""
    row_start: int
    """Where the row of the shortest admissible length begins in `row`."""


class Room(NamedTuple):
    """Arrays to work in, long enough for the longest text at hand."""

    words: Uint32s
    elements: Uint32s
    order: Uint64s
    masks: Masks
    """For texts of up to 64 words; longer ones make their own."""


@kernel
def search_texts(
    strings: Strings,
    entries: Entries,
    packed: Packed,
    lists: Lists,
    rule: Rule,
    letters: Bytes,
    ends: Int64s,
    excluded: Int64s,
    is_first_wanted: bool,
    results: Int64s,
) -> None:
    """Search for many texts; `results` takes entry (or -1), LCS length, the entry's length and the text's own."""
    room = room_for(longest_of(ends))
    begin = 0
    for text in range(len(ends)):
        found = results[4 * text : 4 * text + 4]
        search_text(
            strings, entries, packed, lists, rule, letters, begin, ends[text], room, excluded, is_first_wanted, found
        )
        begin = ends[text]


@inlined
def search_text(
    strings: Strings,
    entries: Entries,
    packed: Packed,
    lists: Lists,
    rule: Rule,
    letters: Bytes,
    begin: int,
    end: int,
    room: Room,
    excluded: Int64s,
    is_first_wanted: bool,
    found: Int64s,
) -> None:
    """Search for letters[begin:end]."""
    count = number_words(strings, letters, begin, end, room.words, False)
    query = query_of(strings, lists.rank, room.words[:count], room.order, room.elements[:count])
    masks = room.masks if count <= 64 else masks_for(count)
    search(entries, packed, lists, rule, query, masks, excluded, is_first_wanted, found)
    found[3] = count


@kernel
def screen_texts(  # noqa: PLR0917 - arrays, each a different thing
    strings: Strings,
    keys: Strings,
    entries: Entries,
    packed: Packed,
    lists: Lists,
    rule: Rule,
    floor: Rule,
    letters: Bytes,
    ends: Int64s,
    key_letters: Bytes,
    key_ends: Int64s,
    is_keeping_all: bool,
    first: int,
    results: Int64s,
) -> int:
    """Search for each text from `first` on, append and list it where nothing is beyond the threshold, or in any case.

    Returns the first text that could not be listed for want of room.
    """
    room, nothing = room_for(longest_of(ends)), np.empty(0, np.int64)
    for text in range(first, len(ends)):
        begin = ends[text - 1] if text else 0
        words = (ends[text] - begin + 1) // 2
        if not has_room(strings, lists, 2 * words, words):
            return text
        found = results[4 * text : 4 * text + 4]
        search_text(strings, entries, packed, lists, rule, letters, begin, ends[text], room, nothing, False, found)
        if is_keeping_all or found[0] < 0:
            key_begin = key_ends[text - 1] if text else 0
            hashed = hash_of(key_letters, key_begin, key_ends[text])
            append(keys, key_letters, key_begin, key_ends[text], hashed)
            append_text(strings, entries, letters, begin, ends[text])
            list_entries(strings, entries, lists, floor, entries.counts[0] - 1, room.order, room.elements)
    return len(ends)


@kernel
def scan_bounds(strings: Strings, entries: Entries, lists: Lists, letters: Bytes, room: Room, classes: Bytes) -> int:
    """Write for each entry which of 256 classes its score can reach at most, and return how many words the text has.

    The class is 0 where nothing is shared. The words are left in `room`.
    """
    count = number_words(strings, letters, 0, len(letters), room.words, False)
    query = query_of(strings, lists.rank, room.words[:count], room.order, room.elements[:count])
    query_low, query_high = query.wide[0], query.wide[1]
    for entry in range(entries.counts[0]):
        length = entries.starts[entry + 1] - entries.starts[entry]
        low, high = entries.signatures[entry, 0], entries.signatures[entry, 1]
        missing = bits_in(query_low & ~low) + bits_in(query_high & ~high)
        foreign = bits_in(low & ~query_low) + bits_in(high & ~query_high)
        most = min(query.known - missing, length - foreign)
        classes[entry] = 0
        if most > 0 and entries.is_alive[entry] and ((low & query_low) | (high & query_high)) != _ZERO:
            classes[entry] = min(255, 1 + int(510.0 * most / (count + length)))
    return count


@kernel
def rank_entries(entries: Entries, words: Uint32s, classes: Bytes, found: Int64s, lcs: Int64s) -> int:
    """Write the best entries and their LCS lengths, best first, and return how many they are.

    Entries are compared from the class of the highest bounds down, until no bound reaches the worst one held.
    """
    masks, count, held = masks_for(len(words)), len(words), 0
    set_masks(masks, words)
    order, scores = _by_class(classes), np.zeros(len(found), np.float64)
    for entry in order:
        if held == len(found) and scores[held - 1] > (classes[entry] + 1) / 255:
            break
        other = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
        length = lcs_length(masks, count, other)
        score = f_measure(length, count, len(other))
        if length > 0:
            held = _hold(found, lcs, scores, held, entry, length, score)
    return held


@kernel
def _by_class(classes: Bytes) -> Int64s:
    """Return the entries of all classes but 0, the highest first."""
    starts = np.zeros(257, np.int64)
    for number in classes:
        starts[256 - np.int64(number)] += 1
    starts = np.cumsum(starts)
    order = np.empty(starts[255], np.int64)
    for entry in range(len(classes)):
        number = np.int64(classes[entry])
        if number > 0:
            order[starts[255 - number]] = entry
            starts[255 - number] += 1
    return order


@inlined
def _hold(
    found: Int64s, lcs: Int64s, scores: npt.NDArray[np.float64], held: int, entry: int, length: int, score: float
) -> int:
    """Put an entry into its place among the best, and return how many are held."""
    at = held
    while at > 0 and (score > scores[at - 1] or (score == scores[at - 1] and entry < found[at - 1])):
        at -= 1
    if at == len(found):
        return held
    held = min(held + 1, len(found))
    for place in range(held - 1, at, -1):
        found[place], lcs[place], scores[place] = found[place - 1], lcs[place - 1], scores[place - 1]
    found[at], lcs[at], scores[at] = entry, length, score
    return held


@kernel
def room_for(words: int) -> Room:
    """Return room for texts of up to so many words."""
    return Room(np.empty(words, np.uint32), np.empty(words, np.uint32), np.empty(words, np.uint64), masks_for(64))


@kernel
def longest_of(ends: Int64s) -> int:
    """Return how many words the longest of the texts may have."""
    begin, longest = 0, 0
    for end in ends:
        longest = max(longest, (end - begin + 1) // 2)
        begin = end
    return longest


@inlined
def query_of(strings: Strings, rank: Uint32s, words: Uint32s, order: Uint64s, elements: Uint32s) -> Query:
    """Prepare a text to be looked for."""
    order_elements(strings, rank, words, order, elements, False)
    known = 0
    for element in elements:
        if element != UNKNOWN:
            known += 1
    wide = np.empty(2, np.uint64)
    return Query(words, elements, signature_of(elements, wide), wide, known)


@inlined
def search(
    entries: Entries,
    packed: Packed,
    lists: Lists,
    rule: Rule,
    query: Query,
    masks: Masks,
    excluded: Int64s,
    is_first_wanted: bool,
    found: Int64s,
) -> None:
    """Write entry (or -1), LCS length and length of the best entry beyond the threshold to `found`."""
    found[0], found[1], found[2], found[3] = -1, 0, 0, 0
    if query.known == 0:
        return
    bounds = _bounds_of(entries, rule, query)
    highest, row, row_start, lowest = bounds.highest, bounds.row, bounds.row_start, bounds.lowest
    if highest < lowest:
        return
    stamp, count, elements = _next_stamp(entries, excluded), bounds.length, query.elements
    survivors = np.empty(CHUNK, np.int64)
    for place in range(count - np.int64(row[row_start]) + 1):
        while highest >= lowest and np.int64(row[row_start + highest - lowest]) > count - place:
            highest -= 1
        if elements[place] == UNKNOWN:
            continue
        at = np.int64(elements[place])
        _visit_packed(
            entries, packed, bounds, query.words, masks, place, highest, at, stamp, survivors, is_first_wanted, found
        )
        if lists.counts[at] != 0 and not (is_first_wanted and found[0] >= 0):
            _visit(
                entries, lists, bounds, query.words, masks, place, highest, at, stamp, survivors, is_first_wanted, found
            )
        if is_first_wanted and found[0] >= 0:
            return


@inlined
def _visit_packed(
    entries: Entries,
    packed: Packed,
    bounds: Bounds,
    words: Uint32s,
    masks: Masks,
    place: int,
    highest: int,
    element: int,
    stamp: np.uint32,
    survivors: Int64s,
    is_first_wanted: bool,
    found: Int64s,
) -> None:
    """Compare the query with the packed entries of one of its elements, as far as the bounds let them through."""
    if element + 1 >= len(packed.starts):
        return
    begin, end, row = packed.starts[element], packed.starts[element + 1], packed.rows[element]
    if row >= 0:
        start = begin
        begin = start + np.int64(packed.splits[row, bucket_of(bounds.lowest)])
        end = start + np.int64(packed.splits[row, bucket_of(highest) + 1])
    while begin < end:
        size = min(end - begin, CHUNK)
        for at in range(_let_through(packed.postings, 2 * begin, size, bounds, place, entries.starts, survivors)):
            _compare(entries, bounds, words, masks, survivors[at], stamp, found)
            if is_first_wanted and found[0] >= 0:
                return
        begin += size


@inlined
def _visit(
    entries: Entries,
    lists: Lists,
    bounds: Bounds,
    words: Uint32s,
    masks: Masks,
    place: int,
    highest: int,
    element: int,
    stamp: np.uint32,
    survivors: Int64s,
    is_first_wanted: bool,
    found: Int64s,
) -> None:
    """Do the same with the entries that came since."""
    arena = lists.arena
    is_split = lists.counts[element] == IS_SPLIT
    first, last = 0, 0
    if is_split:
        first, last = bucket_of(bounds.lowest), bucket_of(highest)
    for bucket in range(first, last + 1):
        left, offset = np.int64(lists.counts[element]), np.int64(lists.heads[element])
        if is_split:
            row = np.int64(lists.heads[element])
            left, offset = np.int64(lists.split_counts[row, bucket]), np.int64(lists.split_heads[row, bucket])
        while left > 0:
            base = older(left)
            for at in range(_let_through(arena, offset + 1, left - base, bounds, place, entries.starts, survivors)):
                _compare(entries, bounds, words, masks, survivors[at], stamp, found)
                if is_first_wanted and found[0] >= 0:
                    return
            offset = np.int64(arena[offset])
            left = base


@inlined
def _let_through(
    arena: Uint64s, begin: int, postings: int, bounds: Bounds, place: int, starts: Int64s, survivors: Int64s
) -> int:
    """Apply the bounds that postings themselves allow: lengths, places, signatures. Return how many survive."""
    row, start, lowest, highest = bounds.row, bounds.row_start - bounds.lowest, bounds.lowest, bounds.highest
    count, known, signature = bounds.length, bounds.known, bounds.signature
    survived = 0
    for cell in range(begin, begin + 2 * postings, 2):
        posting = arena[cell]
        length = np.int64((posting >> np.uint64(16)) & _LOW16)
        if length == SATURATED:
            entry = np.int64(posting >> np.uint64(32))
            length = starts[entry + 1] - starts[entry]
        if length < lowest or length > highest:
            continue
        least = np.int64(row[start + length])
        if place > count - least or np.int64(posting & _LOW16) > length - least:
            continue
        other = arena[cell + 1]
        if bits_in(signature & ~other) > known - least or bits_in(other & ~signature) > length - least:
            continue
        survivors[survived] = np.int64(posting >> np.uint64(32))
        survived += 1
    return survived


@inlined
def _compare(
    entries: Entries, bounds: Bounds, words: Uint32s, masks: Masks, entry: int, stamp: np.uint32, found: Int64s
) -> None:
    """Compute the LCS with an entry not looked at yet, and keep it if it is beyond the threshold and the best."""
    if entries.seen[entry] == stamp or entries.is_alive[entry] == 0:
        return
    entries.seen[entry] = stamp
    if found[3] == 0:
        set_masks(masks, words)
        found[3] = 1
    other = entries.words[entries.starts[entry] : entries.starts[entry + 1]]
    lcs = lcs_length(masks, bounds.length, other)
    if lcs < np.int64(bounds.row[bounds.row_start + len(other) - bounds.lowest]):
        return
    score = f_measure(lcs, bounds.length, len(other))
    best = f_measure(found[1], bounds.length, found[2])
    if score > best or (score == best and entry < found[0]):
        found[0], found[1], found[2] = entry, lcs, len(other)


@inlined
def _bounds_of(entries: Entries, rule: Rule, query: Query) -> Bounds:
    count = len(query.words)
    if count < TABLE_WORDS and rule.row_starts[count] >= 0:
        lowest, highest = rule.lowest[count], rule.highest[count]
        return Bounds(count, query.known, query.signature, lowest, highest, rule.rows, rule.row_starts[count])
    lowest = shortest_partner(count, rule.threshold, rule.is_strict)
    highest = min(longest_partner(count, rule.threshold, rule.is_strict), entries.counts[2])
    row = fill_row(count, lowest, highest, rule.threshold, rule.is_strict)
    return Bounds(count, query.known, query.signature, lowest, highest, row, 0)


@inlined
def _next_stamp(entries: Entries, excluded: Int64s) -> np.uint32:
    """Number this search, and mark the excluded entries as looked at."""
    entries.counts[1] += 1
    if entries.counts[1] > 0xFFFFFFFF:
        entries.seen[:] = 0
        entries.counts[1] = 1
    stamp = np.uint32(entries.counts[1])
    for entry in excluded:
        entries.seen[entry] = stamp
    return stamp
