"""The `rouge` filter: instructions must be new (Self-Instruct), and instances of one task must have new inputs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seedbed.core.filter_config import RougeConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.core.text import canonical
from seedbed.filters.protocol import accept, refuse
from seedbed.filters.rouge import KinFinder, Match, RougeIndex, common_words


@dataclass(slots=True)
class _Task:
    """The rows of a task whose id is not a row's own, as far as they are in."""

    rows: dict[str, Candidate] = field(default_factory=dict)


class RougeFilter:
    """Refuse an instruction too near to one of another task, and an input too near to one of its own task.

    Instances made for one instruction share it, so comparing them by it would leave one instance a task; they are
    compared by their inputs instead (by their instructions where neither has an input). The index therefore has
    an entry for each task and not for each row: a held proposal's, or else its first row's.
    """

    name = "rouge"

    def __init__(self, config: RougeConfig | None = None) -> None:
        config = config or RougeConfig()
        self._threshold = config.threshold
        self._index = RougeIndex(threshold=config.threshold, operator=config.operator, tokenizer=config.tokenizer)
        self._tasks: dict[str, _Task] = {}
        self._task_of: dict[str, str] = {}
        self._heirs: dict[str, str] = {}
        self._tentative: list[Candidate] = []
        self._kin: KinFinder | None = None
        self._nothing_near = accept(self.name, threshold=self._threshold)

    def __len__(self) -> int:
        return len(self._index)

    def warm(self) -> None:
        """Compile the kernels, so that the first check takes no longer than the others."""
        self._index.warm()

    def check(self, candidate: Candidate) -> Verdict:
        """Compare the instruction with those of other tasks, then the input with those of its own task.

        Reasons: `near_duplicate` and `near_duplicate_input`. An accepting verdict carries the nearest of either kind
        at `RougeIndex.floor` or above, and no score where there is none.
        """
        nearest = self._index.nearest(candidate.instruction, exclude=self._own_entries(candidate))
        if nearest is not None and self._index.is_beyond(nearest.score):
            return self._refusal("near_duplicate", nearest, candidate.instruction, self._index.words_of(nearest.key))
        twin = self._nearest_instance(candidate)
        if twin is not None and self._index.is_beyond(twin.score):
            row = self._tasks[candidate.task_id].rows[twin.key]
            return self._refusal(
                "near_duplicate_input", twin, _compared(candidate), self._index.tokenize(_compared(row))
            )
        return self._acceptance(max((one for one in (nearest, twin) if one), key=lambda one: one.score, default=None))

    def check_many(self, candidates: Sequence[Candidate]) -> list[Verdict | None]:
        """Check rows at once; None where the answer depends on rows of the batch, or of the row's own task."""
        texts = [one.instruction for one in candidates]
        matches, is_open = self._index.nearest_of_each(texts), self._are_open(candidates, texts)
        return [
            None if is_one_open else self._verdict_alone(candidate, nearest)
            for candidate, nearest, is_one_open in zip(candidates, matches, is_open, strict=True)
        ]

    def add_many(self, candidates: Sequence[Candidate]) -> None:
        """Do as `add` does with each, faster."""
        alone: list[Candidate] = []
        for candidate in candidates:
            if candidate.id == candidate.task_id:
                alone.append(candidate)
                continue
            self._add_alone(alone)  # first, since the earliest of equals is the neighbour
            alone.clear()
            self.add(candidate)
        self._add_alone(alone)

    def add(self, candidate: Candidate) -> None:
        """Hold a row, a seed or a proposal, tentatively."""
        if self._put(candidate):
            self._tentative.append(candidate)

    def confirm(self) -> None:
        """Keep all tentative entries."""
        self._index.confirm()
        self._tentative.clear()

    def undo(self) -> None:
        """Take all tentative entries back."""
        self._index.undo()
        for candidate in self._tentative:
            self._forget_row(candidate.id)
        self._tentative.clear()

    def load(self, candidates: Iterable[Candidate]) -> None:
        """Put many in, confirmed at once; faster than `add` for each."""
        alone: list[tuple[str, str]] = []
        for candidate in candidates:
            if candidate.id == candidate.task_id:
                alone.append((candidate.id, candidate.instruction))
                continue
            self._index.insert_many(alone)  # first, since the earliest of equals is the neighbour
            alone.clear()
            self._put(candidate)
        self._index.insert_many(alone)
        self._index.confirm()

    def remove(self, candidate_id: str) -> None:
        """Forget a row, a seed or a proposal; a proposal that has rows stays until they go."""
        if candidate_id in self._tasks:
            return
        task_id = self._task_of.get(candidate_id)
        if task_id is None:
            self._index.remove(candidate_id)
            return
        row = self._tasks[task_id].rows[candidate_id]
        self._forget_row(candidate_id)
        if task_id not in self._tasks:
            self._index.remove(task_id)
        self._leave_entry(row, self._tasks.get(task_id, _Task()))

    def _are_open(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[bool]:
        if self._kin is None:
            self._kin = KinFinder(self._index)
        siblings = Counter(one.task_id for one in candidates)
        are_in = self._index.are_in([one.task_id for one in candidates])
        return [
            has_kin or is_in or siblings[one.task_id] > 1 or one.task_id in self._tasks or bool(self._heirs)
            for one, has_kin, is_in in zip(candidates, self._kin.have_kin(texts), are_in, strict=True)
        ]

    def _verdict_alone(self, candidate: Candidate, nearest: Match | None) -> Verdict:
        """Judge a row that is the only one of its task."""
        if nearest is not None and self._index.is_beyond(nearest.score):
            return self._refusal("near_duplicate", nearest, candidate.instruction, self._index.words_of(nearest.key))
        return self._acceptance(nearest)

    def _acceptance(self, best: Match | None) -> Verdict:
        if best is None or best.score < self._index.floor:
            return self._nothing_near
        return accept(self.name, score=best.score, threshold=self._threshold, neighbour_id=self._name(best.key))

    def _add_alone(self, candidates: Sequence[Candidate]) -> None:
        """Add rows, seeds or proposals that are tasks of their own."""
        if not candidates:
            return
        are_in = self._index.are_in([one.id for one in candidates])
        self._tentative += [one for one, is_in in zip(candidates, are_in, strict=True) if not is_in]
        self._index.insert_many((one.id, one.instruction) for one in candidates)

    def _put(self, candidate: Candidate) -> bool:
        if candidate.id == candidate.task_id:
            if candidate.id in self._index:
                return False
            self._index.insert(candidate.id, candidate.instruction)
            return True
        if candidate.id in self._task_of:
            return False
        if not self._is_represented(candidate):
            self._index.insert(candidate.id, candidate.instruction)
        self._tasks.setdefault(candidate.task_id, _Task()).rows[candidate.id] = candidate
        self._task_of[candidate.id] = candidate.task_id
        return True

    def _is_represented(self, candidate: Candidate) -> bool:
        """Say whether an entry of the task has the words of this instruction."""
        wanted = self._index.tokenize(candidate.instruction)
        return any(self._index.words_of(key) == wanted for key in self._own_entries(candidate))

    def _own_entries(self, candidate: Candidate) -> list[str]:
        task = self._tasks.get(candidate.task_id)
        keys = [candidate.task_id, *(task.rows if task else ())]
        return [key for key in dict.fromkeys([*keys, *self._inherited(keys)]) if key in self._index]

    def _inherited(self, keys: list[str]) -> list[str]:
        """Return the keys of entries whose own row is gone but that stand for one of these rows."""
        if not self._heirs:
            return []
        return [key for key, heir in self._heirs.items() if heir in keys]

    def _nearest_instance(self, candidate: Candidate) -> Match | None:
        task = self._tasks.get(candidate.task_id)
        if task is None:
            return None
        matches = [
            Match(row.id, self._index.score(_compared(candidate), _compared(row)))
            for row in task.rows.values()
            if row.id != candidate.id and bool(canonical(row.input)) == bool(canonical(candidate.input))
        ]
        return max(matches, key=lambda match: match.score, default=None)

    def _forget_row(self, candidate_id: str) -> None:
        task_id = self._task_of.pop(candidate_id, None)
        if task_id is None:
            return
        task = self._tasks[task_id]
        del task.rows[candidate_id]
        if not task.rows:
            del self._tasks[task_id]

    def _leave_entry(self, row: Candidate, task: _Task) -> None:
        """Remove the entry of a row that went, or let it stand for a sibling with the same instruction."""
        keys = [row.id, *self._inherited([row.id])]
        wanted = self._index.tokenize(row.instruction)
        heir = next((r.id for r in task.rows.values() if self._index.tokenize(r.instruction) == wanted), None)
        for key in keys:
            if key not in self._index:
                continue
            if heir is None:
                self._heirs.pop(key, None)
                self._index.remove(key)
            else:
                self._heirs[key] = heir

    def _name(self, key: str) -> str:
        return self._heirs.get(key, key)

    def _refusal(self, reason: str, match: Match, text: str, neighbour_words: list[str]) -> Verdict:
        return refuse(
            self.name,
            reason,
            score=match.score,
            threshold=self._threshold,
            neighbour_id=self._name(match.key),
            evidence=common_words(self._index.tokenize(text), neighbour_words),
        )


def _compared(row: Candidate) -> str:
    """Return what sets a row apart from others of its task: the input, or the instruction where it has none."""
    return row.input if canonical(row.input) else row.instruction
