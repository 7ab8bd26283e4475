"""What a filter is, and what one that remembers can do besides.

A filter is pure: it sees a candidate and what is already in, and answers with a verdict. It never raises on what
a candidate says, however odd (NUL, lone surrogates, a megabyte in one field); a filter that raises is broken, and
the cascade stops the run with a `FilterError`.

A proposal reaches filters as a candidate whose `id` and `task_id` are both the proposal's id and whose `input` and
`output` are empty (see `as_candidate`), so a memory can hold it by its instruction until its instances arrive.
"""

from typing import Protocol, runtime_checkable

from seedbed.core.records import Candidate, Lineage, Proposal, SeedTask, Verdict

_SEED_LINEAGE = Lineage(recipe="seed")


class Filter(Protocol):
    """One test of a candidate. `name` is how config, verdicts and the command line call it."""

    @property
    def name(self) -> str: ...

    def check(self, candidate: Candidate) -> Verdict:
        """Say whether the candidate may enter.

        A refusal has a reason in snake_case, and score, threshold, neighbour and evidence where the filter has them.
        An accepting verdict of a filter that measures carries the nearest score and neighbour.
        """
        ...


@runtime_checkable
class Memory(Filter, Protocol):
    """A filter that compares with what is already in.

    Entries added since the last `confirm` or `undo` are tentative: they are compared with like any other, and
    `undo` takes them all back. Adding an id that is already in changes nothing; removing one that is not, neither.
    """

    def add(self, candidate: Candidate) -> None:
        """Put a candidate (or a proposal, or a seed, in a candidate's shape) in, tentatively."""
        ...

    def confirm(self) -> None:
        """Keep all tentative entries."""
        ...

    def undo(self) -> None:
        """Take all tentative entries back."""
        ...

    def remove(self, candidate_id: str) -> None:
        """Forget one entry, tentative or not."""
        ...


def accept(
    name: str,
    *,
    score: float | None = None,
    threshold: float | None = None,
    neighbour_id: str | None = None,
    evidence: tuple[str, ...] = (),
) -> Verdict:
    """Make an accepting verdict."""
    return Verdict(
        filter=name,
        accepted=True,
        score=score,
        threshold=threshold,
        neighbour_id=neighbour_id,
        evidence=evidence,
    )


def refuse(
    name: str,
    reason: str,
    *,
    score: float | None = None,
    threshold: float | None = None,
    neighbour_id: str | None = None,
    evidence: tuple[str, ...] = (),
) -> Verdict:
    """Make a refusing verdict."""
    return Verdict(
        filter=name,
        accepted=False,
        reason=reason,
        score=score,
        threshold=threshold,
        neighbour_id=neighbour_id,
        evidence=evidence,
    )


def as_candidate(subject: Proposal | SeedTask) -> Candidate:
    """Give a proposal or a seed task the shape that filters take; its id becomes both id and task id."""
    if isinstance(subject, SeedTask):
        return Candidate.model_construct(
            id=subject.id,
            task_id=subject.id,
            instruction=subject.instruction,
            input=subject.input,
            output=subject.output,
            requested_category=subject.category,
            category=subject.category,
            grades={},
            lineage=_SEED_LINEAGE,
        )
    return Candidate.model_construct(
        id=subject.id,
        task_id=subject.id,
        instruction=subject.instruction,
        input="",
        output="",
        requested_category=subject.requested_category,
        category="",
        grades={},
        lineage=subject.lineage,
    )
