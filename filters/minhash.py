"""Near-duplicates among longer texts: MinHash proposes, the exact Jaccard of word shingles decides.

What is compared is input + output; where these are short (under `min_words` together) the instruction comes first,
and what is still shorter is not compared at all: every second label "Positive" would be a duplicate. Two rows that
both need their instruction are not compared where it is the same one, or the task is: they would be refused for
what they may share.

Instructions alone are the ROUGE-L filter's job, so `on_instructions` is off by default: of instruction pairs with
ROUGE-L above 0.7, word 5-grams at Jaccard 0.7 would catch 8%. Switched on, it screens instructions by single words,
coarsely.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.core.filter_config import MinHashConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.core.text import folded, words
from seedbed.filters.minhash_index import MinHashIndex, Nearest, Sketch, Sketcher, Sketches, choose_bands
from seedbed.filters.protocol import accept, refuse

NAME = "minhash"


@dataclass(frozen=True, slots=True)
class _Compared:
    """A text as it is compared. `instruction` is the hash of the instruction where the text contains it, else 0."""

    text: str
    task: int
    instruction: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Texts that were checked together, kept so that adding them costs no second sketch."""

    sketches: Sketches
    compared: list[_Compared]
    numbers: dict[str, int]
    """By candidate id; -1 for rows that are not compared."""


@dataclass(slots=True)
class _Side:
    """One index and the ids of its entries."""

    sketcher: Sketcher
    index: MinHashIndex
    ids: list[str] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)

    def nearest(self, compared: _Compared) -> Nearest | None:
        sketch = self.sketcher.sketch(compared.text)
        return self.index.nearest(sketch, task=compared.task, instruction=compared.instruction)

    def add(self, identity: str, compared: _Compared) -> None:
        sketch: Sketch = self.sketcher.sketch(compared.text)
        self.entries[identity] = self.index.add(sketch, task=compared.task, instruction=compared.instruction)
        self.ids.append(identity)

    def add_many(self, batch: _Batch, identities: Sequence[str]) -> None:
        numbers = [batch.numbers[identity] for identity in identities]
        chosen = [batch.compared[number] for number in numbers]
        first = len(self.ids)
        self.index.take(
            batch.sketches.chosen(numbers), [one.task for one in chosen], [one.instruction for one in chosen]
        )
        self.ids += identities
        self.entries.update(zip(identities, range(first, len(self.ids)), strict=True))

    def remove(self, identity: str) -> None:
        entry = self.entries.pop(identity, None)
        if entry is not None:
            self.index.remove(entry)


class MinHashFilter:
    """Refuses a row whose text is too like one that is in."""

    name = NAME

    def __init__(self, config: MinHashConfig | None = None) -> None:
        self._config = config = config or MinHashConfig()
        self._texts = self._side(config.shingle_words)
        self._instructions = self._side(1) if config.on_instructions else None
        self._tentative: list[str] = []
        self._batch: _Batch | None = None
        self._nothing_near = accept(NAME, threshold=config.threshold)

    def check(self, candidate: Candidate) -> Verdict:
        compared = self._compared(candidate)
        verdict = self._verdict(self._texts, compared, "near_duplicate") if compared else _NOT_COMPARED
        if not verdict.accepted or self._instructions is None:
            return verdict
        by_words = self._verdict(self._instructions, _alone(candidate), "near_duplicate_instruction")
        return by_words if not by_words.accepted else verdict

    def check_many(self, candidates: Sequence[Candidate]) -> list[Verdict | None]:
        """Check rows at once; None where the answer depends on earlier rows of the batch."""
        if self._instructions is not None:
            return [None] * len(candidates)
        compared = [self._compared(candidate) for candidate in candidates]
        chosen = [one for one in compared if one is not None]
        same = ([one.task for one in chosen], [one.instruction for one in chosen])
        sketches = self._texts.sketcher.sketches([one.text for one in chosen])
        count = iter(range(len(chosen)))
        numbers = {one.id: -1 if text is None else next(count) for one, text in zip(candidates, compared, strict=True)}
        self._batch = _Batch(sketches, chosen, numbers)
        nearest = iter(self._texts.index.nearest_of_each(sketches, *same))
        kin = iter(MinHashIndex(self._texts.index.bands).take(sketches, *same))
        return [_NOT_COMPARED if text is None else self._verdict_ahead(next(nearest), next(kin)) for text in compared]

    def add_many(self, candidates: Sequence[Candidate]) -> None:
        """Do as `add` does with each, faster for those that `check_many` saw last."""
        known = self._batch.numbers if self._batch and self._instructions is None else {}
        entries = self._texts.entries
        fresh = dict.fromkeys(one.id for one in candidates if known.get(one.id, -1) >= 0 and one.id not in entries)
        if self._batch and fresh:
            self._texts.add_many(self._batch, list(fresh))
        self._tentative += fresh
        for candidate in candidates:
            if candidate.id not in known:
                self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        if candidate.id in self._texts.entries:
            return
        compared = self._compared(candidate)
        if compared:
            self._texts.add(candidate.id, compared)
        if self._instructions is not None and candidate.id not in self._instructions.entries:
            self._instructions.add(candidate.id, _alone(candidate))
        self._tentative.append(candidate.id)

    def confirm(self) -> None:
        self._tentative.clear()

    def undo(self) -> None:
        for identity in self._tentative:
            self.remove(identity)
        self._tentative.clear()

    def remove(self, candidate_id: str) -> None:
        self._texts.remove(candidate_id)
        if self._instructions is not None:
            self._instructions.remove(candidate_id)

    def warm(self) -> None:
        """Compile the kernels, or load them from their cache."""
        side = self._side(self._config.shingle_words)
        compared = _Compared("one two three four five six", 1, 1)
        side.add("", compared)
        side.nearest(compared)

    def _side(self, shingle_words: int) -> _Side:
        sketcher = Sketcher(shingle_words=shingle_words, permutations=self._config.permutations)
        return _Side(sketcher, MinHashIndex(choose_bands(self._config.threshold, self._config.permutations)))

    def _compared(self, candidate: Candidate) -> _Compared | None:
        if not candidate.input and not candidate.output:
            return None  # a proposal has nothing yet but its instruction
        least = self._config.min_words
        text = f"{candidate.input}\n{candidate.output}"
        if _has_words(text, least):
            return _Compared(text, 0, 0)
        text = f"{candidate.instruction}\n{text}"
        if _has_words(text, least):
            return _Compared(text, _hash(candidate.task_id), _hash(folded(candidate.instruction)))
        return None

    def _verdict(self, side: _Side, compared: _Compared, reason: str) -> Verdict:
        return self._judge(side, side.nearest(compared), reason)

    def _verdict_ahead(self, nearest: Nearest | None, kin: Nearest | None) -> Verdict | None:
        return None if kin else self._judge(self._texts, nearest, "near_duplicate")

    def _judge(self, side: _Side, nearest: Nearest | None, reason: str) -> Verdict:
        threshold = self._config.threshold
        if nearest is None:
            return self._nothing_near
        neighbour = side.ids[nearest.entry]
        if nearest.jaccard >= threshold:
            return refuse(NAME, reason, score=nearest.jaccard, threshold=threshold, neighbour_id=neighbour)
        return accept(NAME, score=nearest.jaccard, threshold=threshold, neighbour_id=neighbour)


_NOT_COMPARED = accept(NAME)


def _has_words(text: str, least: int) -> bool:
    """Tell whether a text has so many words; where its beginning has, the rest need not be counted."""
    beginning = text[: 16 * least]
    return (beginning.isascii() and len(words(beginning)) >= least) or len(words(text)) >= least


def _alone(candidate: Candidate) -> _Compared:
    # Every row of a proposal has its instruction, so rows of one task are passed over; equal ones of others are not.
    return _Compared(candidate.instruction, _hash(candidate.task_id), 1 + _hash(candidate.task_id) // 2)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little") | 1
