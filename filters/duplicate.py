"""Exact duplicates, and one input with two outputs."""

from collections import defaultdict
from collections.abc import Sequence

from seedbed.core.records import Candidate, Verdict
from seedbed.core.text import canonical, content_id, folded
from seedbed.filters.protocol import accept, refuse

NAME = "duplicate"


class DuplicateFilter:
    """Refuses a triple that is already in, and a second output for an input that has one.

    Texts are compared folded (case, width and spacing do not count), so a copy that differs in its blanks is a copy.

    Two outputs for one non-empty input: Self-Instruct drops all instances of such a task. Here all go when they
    came in one completion; across completions the first, which was already accepted, stays and the later is refused.
    """

    name = NAME

    def __init__(self) -> None:
        self._triples: dict[str, str] = {}
        self._questions: dict[str, str] = {}
        self._entries: dict[str, tuple[str, str]] = {}
        self._tentative: list[str] = []
        self._contradicted: dict[str, Candidate] = {}
        self._checked: tuple[Candidate, tuple[str, str]] | None = None
        """The candidate checked last and its keys: most are added next."""

    def see_batch(self, candidates: Sequence[Candidate]) -> None:
        """Look over the candidates about to be checked, for completions that contradict themselves."""
        self._contradicted = contradicted(candidates)

    def check(self, candidate: Candidate) -> Verdict:
        triple, question = keys = _keys(candidate)
        self._checked = candidate, keys
        known = self._triples.get(triple)
        if known is not None:
            return refuse(NAME, "exact_duplicate", score=1.0, neighbour_id=known)
        other = self._contradicted.get(candidate.id)
        if other is not None:
            return refuse(NAME, "two_outputs_in_one_completion", neighbour_id=other.id, evidence=_outputs(other))
        known = self._questions.get(question) if question else None
        if known is not None:
            return refuse(NAME, "second_output_for_one_input", neighbour_id=known)
        return _ACCEPTED

    def add(self, candidate: Candidate) -> None:
        if candidate.id in self._entries:
            return
        is_known = self._checked is not None and self._checked[0] is candidate
        triple, question = self._checked[1] if self._checked and is_known else _keys(candidate)
        self._entries[candidate.id] = (triple, question)
        self._triples.setdefault(triple, candidate.id)
        if question:
            self._questions.setdefault(question, candidate.id)
        self._tentative.append(candidate.id)

    def confirm(self) -> None:
        self._tentative.clear()

    def undo(self) -> None:
        for candidate_id in reversed(self._tentative):
            self.remove(candidate_id)
        self._tentative.clear()

    def remove(self, candidate_id: str) -> None:
        keys = self._entries.pop(candidate_id, None)
        if keys is None:
            return
        for index, key in zip((self._triples, self._questions), keys, strict=True):
            if index.get(key) == candidate_id:
                del index[key]


_ACCEPTED = accept(NAME)


def contradicted(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Find instances of one task and one completion that give a non-empty input two outputs.

    Returns:
        For each instance of such a task, by its id, one with another output.
    """
    groups: defaultdict[tuple[str, tuple[str, ...]], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.lineage.request_ids:
            groups[candidate.task_id, candidate.lineage.request_ids].append(candidate)
    found: dict[str, Candidate] = {}
    for group in groups.values():
        if len(group) > 1 and (pair := _contradiction(group)):
            found.update({one.id: pair[1] if one.id == pair[0].id else pair[0] for one in group})
    return found


def _contradiction(group: Sequence[Candidate]) -> tuple[Candidate, Candidate] | None:
    first_of: dict[str, Candidate] = {}
    for candidate in group:
        if not candidate.input.strip():
            continue
        first = first_of.setdefault(folded(candidate.input), candidate)
        if folded(first.output) != folded(candidate.output):
            return first, candidate
    return None


def _keys(candidate: Candidate) -> tuple[str, str]:
    """Return the hashes of the whole triple and of instruction and input; the latter "" where there is no input."""
    question = (folded(candidate.instruction), folded(candidate.input))
    return content_id((*question, folded(candidate.output))), content_id(question) if question[1] else ""


def _outputs(other: Candidate) -> tuple[str, ...]:
    return (canonical(other.output)[:200],)
