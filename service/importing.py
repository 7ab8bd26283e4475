"""An existing set of rows taken into the pool: decided by the cascade, or accepted by hand and marked so.

A row whose category cannot be verified waits: it is stored as refused by `import` for `unverified_category`, where a
person finds it and may accept it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Literal, TypeAlias

import anyio.to_thread

from seedbed.core.batches import batched
from seedbed.core.files import Line, parse_line
from seedbed.core.records import Candidate, Decision, Lineage, Verdict
from seedbed.pool.pool import Pool
from seedbed.service.checking import verified, with_grades
from seedbed.service.context import Context
from seedbed.service.decider import DecisionThread
from seedbed.service.exchanged import BadLine, Imported
from seedbed.service.generation import loaded_cascade
from seedbed.service.hand_decisions import store_by_hand
from seedbed.service.live import Live
from seedbed.service.row_shapes import ShapeError, triple_of
from seedbed.service.workspace import Workspace

BATCH_ROWS = 256
MAX_LINE_BYTES = 1_000_000
MAX_BAD_LINES = 100
RECIPE = "import"
UNVERIFIED = "unverified_category"
SEEN_BEFORE = "duplicate.seen_before"

By: TypeAlias = Literal["cascade", "by_hand"]


async def import_rows(
    context: Context,
    live: Live,
    path: Path,
    *,
    decide: By,
    note: str = "",
    now: Callable[[], float] = time.time,
) -> Imported:
    """Take the rows of a JSON-lines file into the pool, in order and in batches; memory holds one batch.

    A row that the pool knows keeps its first decision. Importing a file again changes nothing but the count of
    repeated rows, so an import that was cut off may be repeated.

    Raises:
        FilterError, PoolError: A filter or the database broke; the batches before are in.
    """
    workspace, done = context.workspace, Imported()
    async with AsyncExitStack() as stack:
        indexes = _Indexes(context, live, stack)
        with path.open("rb") as stream:
            batches = batched(_lines(stream), BATCH_ROWS)
            while batch := await anyio.to_thread.run_sync(next, batches, ()):
                rows, bad = await anyio.to_thread.run_sync(_read, workspace, batch)
                told = await _decided(context.pool, indexes, rows, decide, note, now, workspace)
                done = _sum(done, rows, told, bad)
    context.events.emit(
        "pool.imported", rows=done.rows, accepted=done.accepted, waiting=done.waiting, malformed=done.malformed_lines
    )
    return done


class _Indexes:
    """The decider of the run; where no rows are generated, one of our own that holds the indexes until the end."""

    def __init__(self, context: Context, live: Live, stack: AsyncExitStack) -> None:
        self._context, self._live, self._stack = context, live, stack
        self._own: DecisionThread | None = None

    async def decider(self) -> DecisionThread:
        """Return who decides now; call it anew for each batch, since generation may begin and end."""
        if self._own is not None:
            return self._own
        await self._live.index_lock.acquire()
        if self._live.decider is not None:
            self._live.index_lock.release()
            return self._live.decider
        self._stack.callback(self._live.index_lock.release)
        pool = self._context.pool
        cascade = await anyio.to_thread.run_sync(loaded_cascade, self._context.workspace, pool)
        self._own = DecisionThread(cascade, pool)
        self._stack.push_async_callback(anyio.to_thread.run_sync, self._own.close)
        return self._own


async def _decided(
    pool: Pool,
    indexes: _Indexes,
    rows: Sequence[Candidate],
    decide: By,
    note: str,
    now: Callable[[], float],
    workspace: Workspace,
) -> list[Decision]:
    named = {category.name for category in workspace.categories.trained}
    if decide == "cascade":
        named.update(workspace.held_out)  # the cascade refuses these by itself
    wanted = [row for row in rows if (row.category or row.requested_category) in named]
    waiting = [row for row in rows if (row.category or row.requested_category) not in named]
    decider = await indexes.decider()

    def by_hand(rows: Sequence[Candidate], refusal_of: Callable[[Candidate], Verdict | None]) -> list[Decision]:
        return store_by_hand(pool, decider.cascade, _fresh(pool, rows), refusal_of, note=note, now=now)

    told = await decider.call(lambda: by_hand(waiting, _unverified)) if waiting else []
    if not wanted:
        return told
    if decide == "cascade":
        return told + await decider.decide(wanted)
    return told + await decider.call(lambda: by_hand(wanted, lambda _: None))


def _fresh(pool: Pool, rows: Sequence[Candidate]) -> list[Candidate]:
    """Return the rows that the pool does not know, each once."""
    known = pool.known([row.id for row in rows])
    return list({row.id: row for row in rows if row.id not in known}.values())


def _unverified(row: Candidate) -> Verdict:
    named = row.category or row.requested_category
    return Verdict(filter=RECIPE, accepted=False, reason=UNVERIFIED, evidence=(named,) if named else ())


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers; of one that is too long, a part that is longer than allowed."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 2):
        number += 1
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 2)
        if line.strip():
            yield number, line


def _read(workspace: Workspace, batch: Iterable[tuple[int, bytes]]) -> tuple[list[Candidate], list[BadLine]]:
    rows, bad = list[Candidate](), list[BadLine]()
    for number, raw in batch:
        try:
            row = _candidate(number, raw)
        except ShapeError as error:
            bad.append(BadLine(line=number, problem=str(error)))
        else:
            rows.append(with_grades(workspace, verified(workspace, row)))
    return rows, bad


def _candidate(number: int, raw: bytes) -> Candidate:
    if len(raw) > MAX_LINE_BYTES + 1:
        raise ShapeError(f"longer than {MAX_LINE_BYTES} bytes")
    line = parse_line(number, raw)
    if not isinstance(line, Line):
        raise ShapeError(line.problem)
    triple, task, category = triple_of(line.value), line.value.get("task_id"), line.value.get("category")
    for name, text in (("instruction", triple.instruction), ("output", triple.output)):
        if not text.strip():
            raise ShapeError(f"the {name} is empty")
    return Candidate.of(
        triple.instruction,
        triple.input,
        triple.output,
        lineage=Lineage(recipe=RECIPE),
        task_id=f"{RECIPE} {task}" if isinstance(task, str | int) and task != "" else "",
        requested_category=category if isinstance(category, str) else "",
    )


def _sum(done: Imported, rows: Sequence[Candidate], told: Sequence[Decision], bad: Sequence[BadLine]) -> Imported:
    refused = dict(done.refused)
    if repeated := len(rows) - len(told):  # the cascade tells of these by itself
        refused[SEEN_BEFORE] = refused.get(SEEN_BEFORE, 0) + repeated
    for deciding in [one.deciding for one in told if one.deciding is not None]:
        name = f"{deciding.filter}.{deciding.reason}"
        refused[name] = refused.get(name, 0) + 1
    return Imported(
        rows=done.rows + len(rows),
        accepted=done.accepted + sum(one.accepted for one in told),
        refused=refused,
        waiting=refused.get(f"{RECIPE}.{UNVERIFIED}", 0),
        malformed_lines=done.malformed_lines + len(bad),
        malformed=(*done.malformed, *bad)[:MAX_BAD_LINES],
    )
