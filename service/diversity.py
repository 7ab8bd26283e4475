"""Diversity watched: measured from the pool, told as alarms with a named cause, and handed to the plan to react."""

from collections.abc import Callable, Collection, Mapping
from random import Random

from seedbed.core.diversity import Collapse, Diversity, DiversityConfig, Reaction
from seedbed.core.records import Candidate, Record
from seedbed.generator.diversity import Written, collapses, measure
from seedbed.pool.pool import Decided, Pool
from seedbed.service.alarms import Alarms

KEPT_ROWS = 500
"""Accepted rows drawn from the whole pool; a share of them is told within 4.4 points (95%), at any size of it."""

LIKENESS = frozenset({"rouge", "minhash", "duplicate"})
"""Filters that refuse a row for being like another one."""

ALARM = "diversity/"
React = Callable[[Mapping[Collapse, str]], tuple[Reaction, ...]]
"""Take what stands, generate otherwise, and tell what is done."""


class DiversityReport(Record):
    """What `/v1/diversity` answers."""

    written: Diversity | None
    """What the teacher wrote last, accepted or refused; None while there are too few rows."""
    kept: Diversity | None
    """Accepted rows drawn from the whole pool."""
    bounds: DiversityConfig
    reactions: tuple[Reaction, ...]


def written_lately(pool: Pool, bounds: DiversityConfig) -> Diversity | None:
    """Measure the latest rows; None where there are fewer than half a window, of which nothing is concluded."""
    rows = pool.latest(bounds.window)
    return measure([written(one) for one in rows]) if len(rows) * 2 >= bounds.window else None


def kept_rows(pool: Pool, count: int = KEPT_ROWS) -> Diversity | None:
    """Measure accepted rows drawn at random, so that it costs the same at any size of the pool."""
    rows = pool.sample_decided(count, rng=Random(0))
    return measure([written(one) for one in rows]) if rows else None


def report_diversity(pool: Pool, bounds: DiversityConfig, reactions: tuple[Reaction, ...] = ()) -> DiversityReport:
    """Measure both."""
    kept = kept_rows(pool)
    return DiversityReport(written=written_lately(pool, bounds), kept=kept, bounds=bounds, reactions=reactions)


def written(decided: Decided) -> Written:
    """Return a decided row as it is measured."""
    subject, deciding = decided.subject, decided.decision.deciding
    verdicts = [one for one in decided.decision.verdicts if one.filter == "rouge" and one.score is not None]
    row = subject if isinstance(subject, Candidate) else None
    return Written(
        instruction=subject.instruction,
        category=(row.category if row else "") or subject.requested_category,
        requested_category=subject.requested_category,
        is_accepted=decided.decision.accepted,
        input=row.input if row else None,
        output=row.output if row else None,
        depth=subject.lineage.depth,
        similarity=max((one.score for one in verdicts if one.score is not None), default=None),
        is_near_duplicate=deciding is not None and deciding.filter in LIKENESS,
    )


class DiversityWatch:
    """Looks at what is written, raises and clears the alarms, and has the plan react."""

    def __init__(self, alarms: Alarms, bounds: DiversityConfig, react: React) -> None:
        self._alarms, self._bounds, self._react = alarms, bounds, react
        self._standing: Collection[Collapse] = ()

    def look(self, found: Diversity | None) -> tuple[Reaction, ...]:
        """Compare what was measured with its bounds; returns what generation does otherwise."""
        told = {} if found is None else collapses(found, self._bounds, self._standing)
        self._standing = tuple(told)
        for cause in Collapse:
            self._alarms.set(f"{ALARM}{cause}", f"{cause.replace('_', ' ')}: {told[cause]}" if cause in told else "")
        return self._react(told) if self._bounds.react else ()
