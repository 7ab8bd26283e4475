"""What the tests of exports share: a workspace whose pool holds rows that are hard to write down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seedbed.core.records import Candidate, Decider, Decision, Lineage, Snapshot, Subject, Verdict
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.snapshot import freeze
from seedbed.service.init import create_workspace
from seedbed.service.workspace import Workspace, open_workspace

SECRET = "this row was refused and must not leak"

TEXTS = (
    ("Name a bird.", "", "A wren."),
    ("Translate «ça».", "ligne un\nligne deux", "line one\nline two"),
    ('Quote "this" and \\that\\.', "a\tb\r\nc", '{"a": [1, 2], "b": null}'),
    ("Écris 你好 🐦\u200d⬛ مرحبا", "\u2028 and \u2029 end lines for some", "</script><script>alert(1)</script>"),
    ("=SUM(A1:A9)", "@cmd", "-1"),
    ("Answer no.", "null", "false"),
    ("[1, 2]", "{}", "  two spaces before, and after  "),
    ("Say the largest whole number.", "007", "12345678901234567890"),
)


def row(instruction: str, input: str, output: str, *, category: str = "open_qa") -> Candidate:
    lineage = Lineage(recipe="alpaca", model="scripted", request_ids=("r1",))
    return Candidate.of(instruction, input, output, lineage=lineage, requested_category=category)


ROWS = (*(row(*texts) for texts in TEXTS), *(row(f"Count to {n}.", "", f"1 … {n}") for n in range(40)))


def decided(one: Candidate, *, accepted: bool = True, sequence: int = 0, score: float | None = 0.5) -> Decided:
    reason = "" if accepted else "near_duplicate"
    verdict = Verdict(filter="rouge", accepted=accepted, reason=reason, score=score, threshold=0.7)
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=one.id,
        sequence=sequence,
        accepted=accepted,
        verdicts=(verdict,),
        by=Decider.PERSON if sequence else Decider.CASCADE,
        decided_at=1.0,
    )
    return Decided(one, decision)


@dataclass(frozen=True)
class Filled:
    """A workspace with its open pool and a snapshot of what was accepted."""

    workspace: Workspace
    pool: Pool
    snapshot: Snapshot

    def refuse(self, one: Candidate) -> None:
        """Refuse a row that was accepted, as a person does."""
        self.pool.commit([decided(one, accepted=False, sequence=self.pool.next_sequence(one.id))])


@contextmanager
def filled(folder: Path, rows: Sequence[Candidate] = ROWS) -> Iterator[Filled]:
    """Open a new workspace whose pool holds these rows, and one more that was refused."""
    create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    workspace = open_workspace(folder)
    with Pool.open(folder, workspace.config.pool) as pool:
        refused = decided(row(SECRET, "", SECRET), accepted=False)
        pool.commit([*map(decided, rows), refused])
        snapshot = freeze(pool, workspace.snapshots, round=0, held_out=workspace.held_out)
        yield Filled(workspace, pool, snapshot)


def triples(rows: Sequence[Candidate]) -> list[tuple[str, str, str]]:
    return [(one.instruction, one.input, one.output) for one in rows]
