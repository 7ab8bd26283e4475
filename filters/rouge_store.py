"""The arrays behind a `RougeIndex`: they grow here, and kernels read and write them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.filters import lcs_kernels, posting_kernels, search_kernels, word_kernels
from seedbed.filters.lcs_kernels import Rule
from seedbed.filters.posting_kernels import Entries, Lists, Packed
from seedbed.filters.rouge import Bar
from seedbed.filters.vocabulary import Vocabulary, grown
from seedbed.filters.word_kernels import Bytes, Int64s, Uint32s

_NONE = np.empty(0, np.int64)
_FIRST_PACKING = 512
"""Entries after which the postings are packed for the first time; then whenever they have doubled."""
_SPLIT = 32
"""Packed postings from which an element's are ordered by class of length."""
_NO_SPLITS = np.zeros((0, posting_kernels.BUCKETS + 1), np.uint32)
_NO_POSTINGS = np.empty(0, np.uint64)
_ROW_CELLS = 4 * lcs_kernels.TABLE_WORDS
"""Longest row of least LCS lengths that is kept."""


class Joined(NamedTuple):
    """Texts one after another."""

    letters: Bytes
    ends: Int64s


class RougeStore:
    """Entries, their keys and words, and the postings."""

    def __init__(self, bar: Bar, floor: Bar) -> None:
        self._rule = rule_of(bar)
        self._floor = rule_of(floor)
        self._packed_count = 0
        self._clear()

    def _clear(self) -> None:
        self._vocabulary = Vocabulary()
        self._keys = Vocabulary()
        self._dead = 0
        self._entries = Entries(
            np.zeros(17, np.int64),
            np.empty(128, np.uint32),
            np.zeros(16, np.uint8),
            np.zeros(16, np.uint32),
            np.zeros((16, 2), np.uint64),
            np.zeros(3, np.int64),
        )
        self._lists = _empty_lists(np.arange(len(self._vocabulary.strings.hashes), dtype=np.uint32))
        self._packed = Packed(np.zeros(1, np.int64), np.empty(0, np.int32), _NO_SPLITS, _NO_POSTINGS)
        self._listed = 0

    @property
    def entry_count(self) -> int:
        """Entries, dead ones included."""
        return int(self._entries.counts[0])

    @property
    def alive_count(self) -> int:
        return self.entry_count - self._dead

    @property
    def nbytes(self) -> int:
        arrays: list[npt.NDArray[np.generic]] = [*self._entries, *self._lists, *self._packed]
        return sum(array.nbytes for array in arrays) + self._vocabulary.nbytes + self._keys.nbytes

    def entry_of(self, key: bytes) -> int:
        """Return the living entry of a key, or -1."""
        entry = self._keys.find(key)
        return entry if entry >= 0 and self._entries.is_alive[entry] else -1

    def are_in(self, keys: Sequence[bytes]) -> list[bool]:
        """Say of each key whether it has a living entry."""
        letters, ends = joined(keys)
        numbers = np.empty(len(ends), np.int64)
        word_kernels.find_all(self._keys.strings, letters, ends, numbers)
        known = numbers >= 0
        known[known] = self._entries.is_alive[numbers[known]] != 0
        found: list[bool] = known.tolist()
        return found

    def key_of(self, entry: int) -> bytes:
        return self._keys[entry]

    def words_of(self, entry: int) -> list[bytes]:
        begin, end = self._entries.starts[entry : entry + 2]
        return [self._vocabulary[int(word)] for word in self._entries.words[begin:end]]

    def bury(self, entry: int) -> None:
        """Take an entry out of every answer; its place is reclaimed by a later `tidy`."""
        self._dead += int(self._entries.is_alive[entry])
        self._entries.is_alive[entry] = 0

    def append(self, keys: Sequence[bytes], texts: Sequence[bytes], *, is_listing: bool = True) -> None:
        """Take in texts; they are found once they are listed."""
        self._reserve(keys, texts)
        letters, ends = joined(keys)
        starts = np.concatenate([[0], ends])
        word_kernels.append_all(self._keys.strings, letters, starts, np.arange(len(keys)))
        letters, ends = joined(texts)
        posting_kernels.append_texts(self._vocabulary.strings, self._entries, letters, ends)
        if is_listing:
            self._list()

    def search(
        self, texts: Sequence[bytes], excluded: Sequence[int], *, is_to_floor: bool, is_first_wanted: bool
    ) -> list[list[int]]:
        """Return entry or -1, LCS length, the entry's length and the text's, for each text."""
        letters, ends = joined(texts)
        results = np.empty(4 * len(ends), np.int64)
        search_kernels.search_texts(
            self._vocabulary.strings,
            self._entries,
            self._packed,
            self._lists,
            self._floor if is_to_floor else self._rule,
            letters,
            ends,
            np.array(excluded, np.int64) if excluded else _NONE,
            is_first_wanted,
            results,
        )
        found: list[list[int]] = results.reshape(-1, 4).tolist()
        return found

    def tidy(self) -> None:
        """Rebuild where a quarter is dead, or where as many entries came as were packed."""
        is_worn = self._dead > max(1000, self.entry_count // 4)
        if is_worn or self.entry_count >= max(_FIRST_PACKING, 2 * self._packed_count):
            self.rebuild()

    def rebuild(self) -> None:
        """Drop the dead, order the elements by frequency, and pack the postings of all entries."""
        if self._dead:
            self._compact()
        self._lists = _empty_lists(self._rank_by_frequency())
        self._packed = self._pack()
        self._listed = self._packed_count = self.entry_count

    def _pack(self) -> Packed:
        """Lay the postings of all entries out element by element."""
        room = search_kernels.room_for(int(self._entries.counts[2]))
        fixed = (self._lists.rank, self._floor, room.order, room.elements)
        size = len(self._lists.rank)
        packed = Packed(np.zeros(size + 1, np.int64), np.full(size, -1, np.int32), _NO_SPLITS, _NO_POSTINGS)
        posting_kernels.count_postings(self._vocabulary.strings, self._entries, packed, *fixed)
        frequent = np.flatnonzero(packed.starts[1:] > _SPLIT)
        packed.rows[frequent] = np.arange(len(frequent), dtype=np.int32)
        np.cumsum(packed.starts, out=packed.starts)
        packed = packed._replace(
            splits=np.zeros((len(frequent), posting_kernels.BUCKETS + 1), np.uint32),
            postings=np.empty(2 * int(packed.starts[-1]), np.uint64),
        )
        posting_kernels.count_classes(self._vocabulary.strings, self._entries, packed, *fixed)
        np.cumsum(packed.splits, axis=1, out=packed.splits)
        filled, filled_splits = np.zeros(size, np.int64), np.zeros_like(packed.splits)
        posting_kernels.pack_postings(self._vocabulary.strings, self._entries, packed, *fixed, filled, filled_splits)
        return packed

    def clear(self) -> None:
        """Forget everything."""
        self._packed_count = 0
        self._clear()

    def screen(self, keys: Sequence[bytes], texts: Sequence[bytes], *, is_keeping_all: bool = False) -> list[list[int]]:
        """Search for each text and take it in where nothing is beyond the threshold, or in any case."""
        self._reserve(keys, texts)
        letters, ends = joined(texts)
        key_letters, key_ends = joined(keys)
        results = np.empty(4 * len(ends), np.int64)
        done = 0
        while True:
            done = search_kernels.screen_texts(
                self._vocabulary.strings,
                self._keys.strings,
                self._entries,
                self._packed,
                self._lists,
                self._rule,
                self._floor,
                letters,
                ends,
                key_letters,
                key_ends,
                is_keeping_all,
                done,
                results,
            )
            self._listed = self.entry_count
            if done == len(ends):
                found: list[list[int]] = results.reshape(-1, 4).tolist()
                return found
            self._reserve_listing((len(texts[done]) + 1) // 2 * 2)

    def top_k(self, text: bytes, k: int, excluded: Sequence[int]) -> list[list[int]]:
        """Return rows as `search` does for the k nearest, nearest first."""
        letters, ends = joined([text])
        room = search_kernels.room_for(search_kernels.longest_of(ends))
        classes = np.zeros(self.entry_count, np.uint8)
        count = search_kernels.scan_bounds(self._vocabulary.strings, self._entries, self._lists, letters, room, classes)
        classes[list(excluded)] = 0
        held, lcs = np.empty(max(0, min(k, self.entry_count)), np.int64), np.empty(max(0, k), np.int64)
        if not count or not len(held):
            return []
        found = held[: search_kernels.rank_entries(self._entries, room.words[:count], classes, held, lcs)]
        lengths = self._entries.starts[found + 1] - self._entries.starts[found]
        return [
            [entry, n, length, count]
            for entry, n, length in zip(found.tolist(), lcs.tolist(), lengths.tolist(), strict=False)
        ]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what `restore` needs, without the dead."""
        self.rebuild()
        count, words, keys = self.entry_count, self._vocabulary.strings, self._keys.strings
        starts = self._entries.starts[: count + 1]
        return {
            "starts": starts,
            "words": self._entries.words[: starts[-1]],
            "keys": keys.content[: keys.starts[count]],
            "key_starts": keys.starts[: count + 1],
            "vocabulary": words.content[: words.starts[len(self._vocabulary)]],
            "vocabulary_starts": words.starts[: len(self._vocabulary) + 1],
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Replace all there is by what `arrays` returned."""
        self._clear()
        starts = arrays["starts"]
        count = len(starts) - 1
        longest = int(np.diff(starts).max(initial=0))
        self._entries = Entries(
            starts,
            arrays["words"],
            np.ones(count, np.uint8),
            np.zeros(count, np.uint32),
            np.zeros((count, 2), np.uint64),
            np.array([count, 0, longest], np.int64),
        )
        self._keys = Vocabulary.of(arrays["keys"], arrays["key_starts"])
        self._vocabulary = Vocabulary.of(arrays["vocabulary"], arrays["vocabulary_starts"])
        self._fit_lists()
        self.rebuild()

    def _reserve(self, keys: Sequence[bytes], texts: Sequence[bytes]) -> None:
        """Make room for texts and the numbers of their words."""
        words = sum((len(text) + 1) // 2 for text in texts)
        count = self.entry_count + len(texts)
        held = self._entries
        self._entries = Entries(
            grown(held.starts, count + 1),
            grown(held.words, int(held.starts[self.entry_count]) + words),
            grown(held.is_alive, count),
            grown(held.seen, count),
            grown(held.signatures, count),
            held.counts,
        )
        self._keys.reserve(len(keys), sum(map(len, keys)))
        self._vocabulary.reserve(words, sum(map(len, texts)))
        self._fit_lists()

    def _reserve_listing(self, words: int, depth: int | None = None) -> None:
        """Make room to list an entry of so many words, and more."""
        depth = words if depth is None else depth
        self._vocabulary.reserve(max(words, 1024), 9 * max(words, 1024))
        held = self._lists
        rows = int(held.used[1]) + depth
        self._lists = held._replace(
            arena=grown(held.arena, int(held.used[0]) + depth * posting_kernels.WORST_WORDS_PER_POSTING),
            split_heads=grown(held.split_heads, rows),
            split_counts=grown(held.split_counts, rows),
        )
        self._fit_lists()

    def _fit_lists(self) -> None:
        """Give every number of the vocabulary a rank and a list."""
        held, size = self._lists, len(self._vocabulary.strings.hashes)
        if len(held.rank) == size:
            return
        rank = np.arange(size, dtype=np.uint32)
        rank[: len(held.rank)] = held.rank
        heads, counts = np.zeros(size, np.uint32), np.zeros(size, np.uint32)
        heads[: len(held.heads)], counts[: len(held.counts)] = held.heads, held.counts
        self._lists = held._replace(rank=rank, heads=heads, counts=counts)

    def _list(self) -> None:
        """List what is not listed yet."""
        longest = int(self._entries.counts[2])
        room = search_kernels.room_for(longest)
        while True:
            self._listed = posting_kernels.list_entries(
                self._vocabulary.strings,
                self._entries,
                self._lists,
                self._floor,
                self._listed,
                room.order,
                room.elements,
            )
            if self._listed == self.entry_count:
                return
            begin, end = self._entries.starts[self._listed : self._listed + 2].tolist()
            self._reserve_listing(end - begin)

    def _rank_by_frequency(self) -> Uint32s:
        """Return the place of each element in the order by frequency."""
        room = search_kernels.room_for(int(self._entries.counts[2]))
        counted = 0
        frequency = np.zeros(len(self._lists.rank), np.int64)
        while True:
            counted = posting_kernels.count_elements(
                self._vocabulary.strings, self._entries, self._lists, counted, room.order, room.elements, frequency
            )
            if counted == self.entry_count:
                break
            begin, end = self._entries.starts[counted : counted + 2].tolist()
            self._reserve_listing(end - begin, depth=0)
            frequency = np.concatenate([frequency, np.zeros(len(self._lists.rank) - len(frequency), np.int64)])
        count = len(self._vocabulary)
        rank = np.arange(len(self._lists.rank), dtype=np.uint32)
        rank[np.argsort(-frequency[:count], kind="stable")] = np.arange(count, dtype=np.uint32)
        return rank

    def _compact(self) -> None:
        """Leave the dead out, keeping the order of the living."""
        count, held = self.entry_count, self._entries
        alive = held.is_alive[:count] != 0
        lengths = np.diff(held.starts[: count + 1])
        words = held.words[: held.starts[count]][np.repeat(alive, lengths)]
        starts = np.concatenate([[0], np.cumsum(lengths[alive])]).astype(np.int64)
        left = int(alive.sum())
        counts = np.array([left, 0, lengths[alive].max(initial=0)], np.int64)
        self._entries = Entries(
            starts, words, np.ones(left, np.uint8), np.zeros(left, np.uint32), np.zeros((left, 2), np.uint64), counts
        )
        keys = self._keys.strings
        self._keys = Vocabulary.of(keys.content, keys.starts, np.flatnonzero(alive))
        self._dead = 0


def rule_of(bar: Bar) -> Rule:
    """Work out, for texts of up to `TABLE_WORDS` words, which partners can be beyond the bar, and from which LCS on."""
    size = lcs_kernels.TABLE_WORDS
    lowest, highest, row_starts = np.zeros(size, np.int64), np.zeros(size, np.int64), np.full(size, -1, np.int64)
    rows, used = [np.empty(0, np.uint32)], 0
    for a in range(1, size):
        lowest[a] = lcs_kernels.shortest_partner(a, bar.threshold, bar.is_strict)
        highest[a] = lcs_kernels.longest_partner(a, bar.threshold, bar.is_strict)
        if highest[a] > _ROW_CELLS:
            continue
        row_starts[a] = used
        rows.append(lcs_kernels.fill_row(a, lowest[a], highest[a], bar.threshold, bar.is_strict))
        used += len(rows[-1])
    return Rule(bar.threshold, bar.is_strict, lowest, highest, row_starts, np.concatenate(rows))


def joined(texts: Sequence[bytes]) -> Joined:
    """Return texts one after another, and where each ends."""
    letters = np.frombuffer(b"".join(texts), np.uint8)
    return Joined(letters, np.cumsum([len(text) for text in texts], dtype=np.int64))


def _empty_lists(rank: Uint32s) -> Lists:
    """Return lists without postings."""
    return Lists(
        rank,
        np.zeros(len(rank), np.uint32),
        np.zeros(len(rank), np.uint32),
        np.zeros((16, posting_kernels.BUCKETS), np.uint32),
        np.zeros((16, posting_kernels.BUCKETS), np.uint32),
        np.empty(4096, np.uint64),
        np.zeros(2, np.int64),
    )
