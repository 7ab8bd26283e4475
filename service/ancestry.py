"""What a row descends from: the rows and seeds that were shown when it was written, and theirs, back to the seeds."""

from collections.abc import Sequence

from seedbed.core.records import Lineage, Record, SeedTask
from seedbed.pool.pool import Pool

MAX_ANCESTORS = 200


class Ancestor(Record):
    """A row or seed that was shown to the model."""

    id: str
    generation: int
    """1 for what was shown for the row itself, 2 for what was shown for that."""
    is_seed: bool
    instruction: str
    """Empty where it is no longer known."""


def ancestors_of(seeds: Sequence[SeedTask], pool: Pool, lineage: Lineage) -> list[Ancestor]:
    """Walk back to the seeds, nearest generation first; at most `MAX_ANCESTORS`."""
    tasks = {seed.id: seed for seed in seeds}
    found: dict[str, Ancestor] = {}
    generation, shown = 1, list(lineage.demonstration_ids)
    while shown and len(found) < MAX_ANCESTORS:
        earlier: list[str] = []
        for identity in shown:
            if identity in found or len(found) >= MAX_ANCESTORS:
                continue
            row = None if identity in tasks else pool.candidate(identity)
            text = tasks[identity].instruction if identity in tasks else row.instruction if row else ""
            is_seed = identity in tasks
            found[identity] = Ancestor(id=identity, generation=generation, is_seed=is_seed, instruction=text)
            earlier += row.lineage.demonstration_ids if row else ()
        generation, shown = generation + 1, earlier
    return list(found.values())
