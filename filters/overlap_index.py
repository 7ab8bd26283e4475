"""All references in one index, and the four rules that look into it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.core.filter_config import ContaminationConfig
from seedbed.filters import overlap_kernels as kernels
from seedbed.filters.digest import Digest
from seedbed.filters.item_kernels import gram_ids_of, long_grams_of
from seedbed.filters.lookup import items_of, joined, lookup_of, together, whole_keys
from seedbed.filters.normal_form import normal_text, normal_words

Kind: TypeAlias = Literal["distinctive", "boilerplate", "short"]


class Rule(IntFlag):
    """The rules, in the order in which they give a refusal its reason."""

    EQUAL_ITEM = 1
    EMBEDDED_ITEM = 2
    SHARED_NGRAM = 4
    COVERED_ITEM = 8


_NO_RULE = Rule(0)
ALL_RULES = Rule.EQUAL_ITEM | Rule.EMBEDDED_ITEM | Rule.SHARED_NGRAM | Rule.COVERED_ITEM


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the rules found in one row. Items are numbers in the index, -1 for none; spans are words of the row."""

    equal: int
    embedded: int
    shared: int
    shared_words: int
    """Words in the longest run of shared n-grams."""
    covered: int
    """The item of the greatest coverage, be it enough or not."""
    coverage: float
    equal_span: tuple[int, int]
    embedded_span: tuple[int, int]
    shared_span: tuple[int, int]

    def rules(self, coverage: float) -> Rule:
        """Return the rules that condemn the row."""
        if self.equal < 0 and self.embedded < 0 and self.shared < 0 and self.covered < 0:
            return _NO_RULE
        found = Rule(0)
        found |= Rule.EQUAL_ITEM if self.equal >= 0 else Rule(0)
        found |= Rule.EMBEDDED_ITEM if self.embedded >= 0 else Rule(0)
        found |= Rule.SHARED_NGRAM if self.shared >= 0 else Rule(0)
        return found | (Rule.COVERED_ITEM if self.covered >= 0 and self.coverage >= coverage else Rule(0))


class OverlapIndex:
    """The items of all references.

    An n-gram that stands in more than `max_document_frequency` distinct items of any one reference is boilerplate:
    it condemns nothing, and does not count in an item's coverage. (Of one reference, since copies and variants of a
    benchmark in several files must not make its items boilerplate.) So is an item that stands whole in more than so
    many items: it counts only as a whole field.
    """

    def __init__(self, digests: Sequence[Digest], config: ContaminationConfig) -> None:
        self._config = config
        self._digests = digests
        self._firsts = np.cumsum([0, *(len(digest) for digest in digests)])
        self._index = _index_of(digests, config)
        self._words = together([digest.words for digest in digests], np.int64)
        items, grams = int(self._firsts[-1]), len(self._index.grams.keys)
        self._marks = kernels.Marks(
            np.full(grams + 1, -1, np.int64), np.full(items + 1, -1, np.int64), np.empty(items + 1, np.int32)
        )
        self._turn = 0

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def name_of(self, item: int) -> str:
        """Return benchmark and row: `gsm8k/17`."""
        place = int(np.searchsorted(self._firsts, item, side="right")) - 1
        digest = self._digests[place]
        return f"{digest.name}/{digest.rows[item - self._firsts[place]]}"

    def kind_of(self, text: str) -> Kind:
        """Say how an item counts that equals a text, `short` where none does."""
        item = int(self.find([(text, "", "")], Rule.EQUAL_ITEM).equal[0])
        if item < 0 or self._words[item] < self._config.min_item_words:
            return "short"
        first, last = self._index.gram_bounds[item], self._index.gram_bounds[item + 1]
        ids = self._index.gram_ids[first:last]
        has_distinctive = bool((self._index.grams.offsets[ids + 1] > self._index.grams.offsets[ids]).any())
        is_boilerplate = not self._index.can_be_embedded[item] or (len(ids) > 0 and not has_distinctive)
        return "boilerplate" if is_boilerplate else "distinctive"

    def overlaps(self, rows: Sequence[tuple[str, str, str]], rules: Rule = ALL_RULES) -> list[Overlap]:
        """Apply rules to rows of (instruction, input, output), many at a time."""
        found = self.find(rows, rules)
        return list(_overlaps(found))

    def find(self, rows: Sequence[tuple[str, str, str]], rules: Rule = ALL_RULES) -> kernels.Found:
        """Apply rules; the answer is one array a rule."""
        parts = [normal_text(field).encode("utf-8", "replace") for row in rows for field in row]
        buffer, bounds = joined(parts)
        count = len(rows)
        equal, embedded, shared, covered = (np.full(count, -1, np.int32) for _ in range(4))
        spans = [np.zeros((count, 2), np.int32) for _ in range(3)]
        found = kernels.Found(equal, embedded, shared, covered, np.zeros(count, np.float64), *spans)
        kernels.check_rows(self._index, buffer, bounds, self._marks, self._turn, int(rules), found)
        self._turn += count
        return found

    def shared_stretches(self, row: tuple[str, str, str], item: int) -> list[str]:
        """Return the stretches of a row's words that lie in n-grams shared with an item."""
        words = [word for field in row for word in normal_words(field)]
        ids = gram_ids_of(self._index, *joined([" ".join(words).encode("utf-8", "replace")]))
        begin, end = self._index.gram_bounds[item], self._index.gram_bounds[item + 1]
        is_shared = np.zeros(len(words), dtype=np.bool_)
        for at in np.flatnonzero((ids >= 0) & np.isin(ids, self._index.gram_ids[begin:end])):
            is_shared[at : at + self._index.gram] = True
        edges = np.flatnonzero(np.diff(np.concatenate(([False], is_shared, [False]))))
        return [" ".join(words[first:last]) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _overlaps(found: kernels.Found) -> Iterator[Overlap]:
    """Yield what was found in each row; most have nothing, and share one record."""
    has_some = (found.equal >= 0) | (found.embedded >= 0) | (found.shared >= 0) | (found.covered >= 0)
    for row, is_some in enumerate(has_some.tolist()):
        yield _overlap(found, row) if is_some else _NOTHING


def _overlap(found: kernels.Found, row: int) -> Overlap:
    spans = [(int(span[row, 0]), int(span[row, 1])) for span in found[5:]]
    return Overlap(
        int(found.equal[row]),
        int(found.embedded[row]),
        int(found.shared[row]),
        spans[2][1] - spans[2][0],
        int(found.covered[row]),
        float(found.coverage[row]),
        spans[0],
        spans[1],
        spans[2],
    )


_NOTHING = Overlap(-1, -1, -1, 0, -1, 0.0, (0, 0), (0, 0), (0, 0))


def _index_of(digests: Sequence[Digest], config: ContaminationConfig) -> kernels.Index:
    most = config.max_document_frequency
    words = together([digest.words for digest in digests], np.int64)
    grams = together([digest.grams for digest in digests], np.uint64)
    hashes = together([digest.hashes for digest in digests], np.uint64)
    bounds = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(np.maximum(words - config.coverage_ngram + 1, 0), out=bounds[1:])
    numbers = np.arange(len(words), dtype=np.int32)
    reference = np.repeat(np.arange(len(digests), dtype=np.int32), [len(digest) for digest in digests])
    gram_lookup = lookup_of(grams, np.repeat(numbers, np.diff(bounds)), reference, most)
    steps, reach = _steps(config), config.ngram - config.coverage_ngram
    long_grams, items = np.empty(len(grams), np.uint64), np.empty(len(grams), np.int32)
    total = long_grams_of(grams, bounds, reach, steps, long_grams, items)
    standing = together([digest.standing for digest in digests], np.int64)
    return kernels.Index(
        items=items_of(
            together([digest.letters for digest in digests], np.int64),
            hashes,
            together([digest.anchors for digest in digests], np.uint32),
            together([digest.gates for digest in digests], np.uint16),
            words >= config.min_item_words,
        ),
        whole=lookup_of(whole_keys(hashes, words, config.min_item_words), numbers),
        can_be_embedded=((words >= config.min_item_words) & (standing <= most)).astype(np.uint8),
        grams=gram_lookup,
        long_grams=lookup_of(long_grams[:total], items[:total], reference, most),
        gram_bounds=bounds,
        gram_ids=np.searchsorted(gram_lookup.keys, grams).astype(np.int32),
        steps=steps,
        gram=config.coverage_ngram,
        long_gram=config.ngram,
        short_words=config.min_item_words,
    )


def _steps(config: ContaminationConfig) -> npt.NDArray[np.int64]:
    """Return where, after the first, the short n-grams begin that cover a long one."""
    reach = config.ngram - config.coverage_ngram
    return np.array(sorted({*range(config.coverage_ngram, reach, config.coverage_ngram), reach} - {0}), dtype=np.int64)
