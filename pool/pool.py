"""The pool: everything asked, answered and decided, and the trainings that come of it, durable in one database."""

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import (
    Adapter,
    Candidate,
    Completion,
    Decision,
    Proposal,
    Request,
    RunState,
    Subject,
    TrainingRun,
)
from seedbed.core.reports import EvalReport
from seedbed.pool import keeping, reads, retention, schema, writes
from seedbed.pool.joining import join, readable
from seedbed.pool.leadership import PATIENCE_S, Leadership, read_leader
from seedbed.pool.lock import command_line, hold_workspace
from seedbed.pool.nodes import Nodes
from seedbed.pool.reader import Reader
from seedbed.pool.records import (
    Attempt,
    Committed,
    Decided,
    Intent,
    Listed,
    Occurrence,
    PoolCounts,
    ProposalsLeft,
    RequestFailure,
    ShareChange,
    Unreadable,
    Usage,
    Wanted,
)
from seedbed.pool.retention import OldText, Text
from seedbed.pool.rows import to_candidate, to_completion
from seedbed.pool.server import is_server
from seedbed.pool.submissions import Submissions
from seedbed.pool.transaction import Standing
from seedbed.pool.translate import translated
from seedbed.pool.writer import Writer

__all__ = ["Committed", "Decided", "Pool"]

T = TypeVar("T")
EVERY = Wanted()


class Pool:
    """A workspace's pool; safe to use from any thread.

    Every write blocks until it is on disk; writes that threads make at once share a transaction. `submit` is the
    form that does not block. Reads see all that was acknowledged before them. Everything raises `PoolError` where
    the database fails, `PoolFullError` where the disk is full; a write that raised is not in the pool, others are.
    """

    def __init__(
        self,
        path: Path | str,
        config: PoolConfig,
        readers: Engine,
        now: Callable[[], float],
        writer: Writer | None = None,
        leadership: Leadership | None = None,
    ) -> None:
        self.path, self._config, self._now = path, config, now
        self._writer, self._leadership = writer, leadership
        self._reader = Reader(readers, path, PATIENCE_S if leadership is not None else 0.0)
        self._release: Callable[[], None] = lambda: None
        self.node = "" if leadership is None else uuid.uuid4().hex
        """This process among those that write the pool; empty where it is the only one."""
        self.submissions = Submissions(self._reader, self.submit, self.node, now)
        self.nodes = Nodes(self._reader, self.submit, now)

    @classmethod
    def open(
        cls,
        folder: Path,
        config: PoolConfig,
        *,
        read_only: bool = False,
        stands_by: bool = False,
        now: Callable[[], float] = time.time,
        command: str = "",
    ) -> Self:
        """Open the pool of the workspace `folder`, for writing unless told otherwise.

        Of several processes that write one pool on a server, one leads: the others may store what they asked and
        what was answered, and nothing that was decided.

        Args:
            folder: The workspace. For writing, the pool is made where there is none, and upgraded where it is
                older, with a copy in `folder/backups` first.
            config: When trainings are triggered.
            read_only: Take no lock; another process may write the pool meanwhile.
            stands_by: Open it where another process leads the pool too; `try_lead` says when that one is gone.
            now: The clock, in seconds since 1970.
            command: What others are told the workspace is held for; empty takes the command line's.

        Raises:
            WorkspaceHeldError: Another process writes it, or leads a pool on a server; the message names that one.
            PoolVersionError: The pool is newer than this program, or older and to be read only.
            MissingFileError: There is no pool to read.
        """
        if read_only:
            found = readable(folder, config)
            return cls(found.where, config, found.readers, now)
        with translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
        held = hold_workspace(folder, now(), command)
        try:
            joined = join(folder, config, now(), command or command_line(), stands_by=stands_by)
        except BaseException:
            held.close()
            raise
        pool = cls(joined.where, config, joined.readers, now, joined.writer, joined.leadership)
        pool._release = held.close
        try:
            pool._write(keeping.name_pool())
            if config.may_lead or not stands_by:
                pool.try_lead()
        except BaseException:
            pool.close()
            raise
        return pool

    def close(self) -> None:
        """Store what was submitted, then let go of the workspace. Closing twice is harmless."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self._leadership is not None:
            self._leadership.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Leading: one process decides

    @property
    def is_led(self) -> bool:
        """Whether this process decides, as far as it knows; always on SQLite, where one process writes."""
        return self._writer is not None and (self._leadership is None or self._leadership.is_held)

    def try_lead(self) -> bool:
        """Take the lead of a pool on a server, unless another process has it.

        What was read from the pool before may be old: whoever did not lead until now builds its indexes anew.
        """
        if self._writer is None or (self._leadership is not None and not self._leadership.try_take()):
            return False
        self._writer.accepted = self._read(reads.counter, "candidates", "accepted")
        return True

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write the pool too, since it is on a server."""
        return is_server(self._config)

    @property
    def epoch(self) -> int:
        """The number of this process's term as the leader; it grows from term to term."""
        return int(self._now()) if self._leadership is None else self._leadership.epoch

    def leader(self) -> str:
        """Say which process leads, for people; empty where nobody ever did, and on SQLite."""
        found = None if self._leadership is None else self._read(read_leader)
        return found.holder if found else ""

    # Writing

    def submit(self, write: writes.Write[T]) -> "Future[T]":
        """Queue one of `seedbed.pool.writes`; the future is done when it is on disk."""
        if self._writer is None:
            raise PoolError(f"{self.path} was opened read-only: open it for writing")
        return self._writer.submit(write)

    def submit_requests(self, requests: Sequence[Request]) -> "Future[None]":
        return self.submit(writes.asked(requests, self._now(), self.node))

    def submit_completions(self, completions: Sequence[Completion]) -> "Future[None]":
        return self.submit(writes.answered(completions, self._now()))

    def submit_failures(self, failures: Sequence[RequestFailure]) -> "Future[None]":
        return self.submit(writes.failed(failures, self._now()))

    def submit_unreadable(self, pieces: Sequence[Unreadable]) -> "Future[None]":
        return self.submit(writes.unreadable(pieces, self._now()))

    def submit_decided(self, decided: Sequence[Decided]) -> "Future[Committed]":
        return self.submit(writes.decided(decided, self._config, self._now()))

    def add_requests(self, requests: Sequence[Request]) -> None:
        """Store requests, before they are sent. One that is stored already stays as it is."""
        self.submit_requests(requests).result()

    def add_completions(self, completions: Sequence[Completion]) -> None:
        """Store completions; the first of a request stands.

        Raises:
            PoolError: The request was never stored.
        """
        self.submit_completions(completions).result()

    def add_failures(self, failures: Sequence[RequestFailure]) -> None:
        """Store that requests were given up."""
        self.submit_failures(failures).result()

    def add_unreadable(self, pieces: Sequence[Unreadable]) -> None:
        """Store what the parser could make nothing of; counted as refused for `parse.REASON`."""
        self.submit_unreadable(pieces).result()

    def commit(self, decided: Sequence[Decided]) -> Committed:
        """Store decisions, with their subjects where those are new, and trigger the trainings that are due.

        A candidate that is known gets an occurrence and keeps its decision, unless this one is a later one
        (`sequence` 1 and up, see `next_sequence`), which then holds.

        Raises:
            PoolError: A decision skips a sequence number, or the subject is unknown and the number is not 0.
        """
        return self.submit_decided(decided).result()

    # What was asked

    def unanswered(self) -> int:
        """Return how many requests have neither a completion nor a failure."""
        return self._read(reads.counter, "requests", "waiting")

    def waiting_requests(self, count: int = 1000) -> list[Request]:
        """Return the oldest of those."""
        return self._read(reads.waiting_requests, count)

    def spent(self) -> Usage:
        """Return what all completions took, and each endpoint's part."""
        return self._read(reads.spent)

    def request(self, identity: str) -> Request | None:
        return self._read(reads.request, identity)

    def completion(self, request_id: str) -> Completion | None:
        return self._read(reads.completion, request_id)

    def completions(self) -> Iterator[Completion]:
        """Yield every completion in order of arrival: parsing them again costs nothing."""
        return map(to_completion, self._reader.pages(schema.completions))

    def unreadable(self, reason: str | None = None, count: int = 100) -> list[Unreadable]:
        """Return the newest pieces that could not be read, of one reason or of any."""
        return self._read(reads.unreadable, reason, count)

    # What was decided

    def knows(self, candidate_id: str) -> bool:
        """Say whether the candidate is in the pool, accepted or refused."""
        return bool(self._read(reads.known, [candidate_id]))

    def known(self, candidate_ids: Collection[str]) -> set[str]:
        """Return which of these candidates the pool holds."""
        return self._read(reads.known, candidate_ids)

    def next_sequence(self, subject_id: str) -> int:
        """Return the number that the next decision on a subject must carry."""
        return max((decision.sequence for decision in self.decisions(subject_id)), default=-1) + 1

    def accepted_count(self) -> int:
        """Return how many candidates stand accepted; asked after every batch, so a writing pool remembers it."""
        if self._writer is not None and self._writer.accepted is not None and self.is_led:
            return self._writer.accepted
        return self._read(reads.counter, "candidates", "accepted")

    def accepted(self) -> Iterator[Candidate]:
        """Yield the accepted candidates in order of arrival, without those that come in meanwhile."""
        return map(to_candidate, self._reader.pages(schema.candidates, schema.candidates.c.is_accepted == 1))

    def accepted_of(self, candidate_ids: Collection[str]) -> dict[str, Candidate]:
        """Return which of these candidates stand accepted, by id."""
        return self._read(reads.accepted_of, candidate_ids)

    def candidates(self) -> Iterator[Candidate]:
        """Yield all candidates, accepted or refused, in order of arrival."""
        return map(to_candidate, self._reader.pages(schema.candidates))

    def decided(self) -> Iterator[Decided]:
        """Yield all candidates in order of arrival, each with the decision that held when its page was read."""
        after, until = 0, self._read(reads.last_number, schema.candidates)
        while rows := self._read(reads.decided_page, after, until):
            yield from (decided for _, decided in rows)
            after = rows[-1][0]

    def newest_decided(self, count: int) -> list[Decided]:
        """Return the newest candidates in order of arrival, each with the decision that holds."""
        return self._read(reads.newest_decided, count)

    def standings(self, candidate_ids: Collection[str]) -> dict[str, Standing]:
        """Return how candidates stand, by id; those the pool does not hold are left out."""
        return self._read(reads.standings, candidate_ids)

    def latest(self, count: int) -> list[Decided]:
        """Return what the cascade decided last, oldest first: candidates, and proposals that it refused."""
        return self._read(reads.latest, count)

    def proposals_left(self) -> ProposalsLeft:
        """Count the proposals of which no candidate was made."""
        return self._read(reads.proposals_left)

    def sample_accepted(
        self, count: int, *, rng: Random, categories: Collection[str] | None = None, exclude: Collection[str] = ()
    ) -> list[Candidate]:
        """Draw accepted candidates, each as likely as any other; fewer where there are not enough.

        Args:
            count: How many.
            rng: The source of randomness.
            categories: Only of these (as verified, else as requested); None: of any.
            exclude: Ids that are not wanted.
        """
        return self._read(reads.sample_accepted, count, rng, categories, exclude)

    def sample_decided(self, count: int, *, rng: Random, accepted: bool = True) -> list[Decided]:
        """Draw accepted candidates, or refused ones, each with the decision that holds."""
        return self._read(reads.holding, self._read(reads.sample_accepted, count, rng, None, (), accepted))

    def candidate(self, identity: str) -> Candidate | None:
        return self._read(reads.candidate, identity)

    def proposal(self, identity: str) -> Proposal | None:
        return self._read(reads.proposal, identity)

    def decisions(self, subject_id: str) -> list[Decision]:
        """Return all decisions on a subject; the last one holds."""
        return self._read(reads.decisions, subject_id)

    def occurrences(self, candidate_id: str) -> list[Occurrence]:
        """Return when and whence the candidate came again."""
        return self._read(reads.occurrences, candidate_id)

    def find(self, prefix: str, count: int = 20) -> list[str]:
        """Return ids of candidates and proposals that start so."""
        return self._read(reads.find, prefix, count)

    def counts(self) -> PoolCounts:
        return self._read(reads.counts)

    def recent(self, accepted: bool, count: int, subject: Subject = Subject.CANDIDATE) -> list[Decided]:
        """Return the newest that stand accepted, or refused, newest first, with the decision that holds."""
        return self._read(reads.recent, subject, accepted, count)

    def listed(self, count: int, before: int | None = None, wanted: Wanted = EVERY) -> list[Listed]:
        """Return candidates of a kind, newest first; `before` is the number of the last one already seen."""
        return self._read(reads.listed, before, count, wanted)

    # What is old

    def old_texts(self, kind: Text, before: float) -> Iterator[list[OldText]]:
        """Yield, in pages, the texts of a kind that are older than `before` (seconds since 1970)."""
        after = 0
        while page := self._read(retention.old_texts, kind, before, after):
            yield page
            after = page[-1].number

    def blank(self, kind: Text, numbers: Sequence[int]) -> int:
        """Remove texts for good, all or none; rows, verdicts, reasons, ids and counts stay. Returns how many.

        A candidate that was accepted meanwhile keeps its text.
        """
        return self._write(retention.blank(kind, numbers))

    # Rounds of training

    def threshold(self, round: int) -> int:
        """Return the accepted rows that trigger the training of a round; rounds count from 0."""
        return writes.threshold(self._config, round)

    def fire_due(self) -> tuple[TrainingRun, ...]:
        """Trigger what a changed `first_target` or `step` made due; commits do it for what they add."""
        return self._write(keeping.fire_due(self._config, self._now()))

    def trigger_early(self) -> TrainingRun | None:
        """Trigger the next round on what is accepted now; None where nothing is, or a round is due already."""
        return self._write(keeping.trigger_early(self._now()))

    def runs(self) -> list[TrainingRun]:
        return self._read(reads.runs)

    def run(self, round: int) -> TrainingRun | None:
        return next((run for run in self.runs() if run.round == round), None)

    def update_run(self, run: TrainingRun) -> None:
        """Store a run's new state; its round, id, threshold and attempts stay."""
        self._write(keeping.update_run(run))

    def add_attempt(self, round: int) -> Attempt:
        """Start the next attempt at a round: the run is RUNNING and its attempts are one more."""
        return self._write(keeping.add_attempt(round, self._now()))

    def end_attempt(self, attempt: Attempt, state: RunState, error: str = "") -> Attempt:
        """Store how an attempt ended."""
        return self._write(keeping.end_attempt(attempt, state, error, self._now()))

    def attempts(self, round: int) -> list[Attempt]:
        return self._read(reads.attempts, round)

    def add_adapter(self, adapter: Adapter) -> None:
        """Store a new adapter; storing the same again changes nothing, another one of its id is refused."""
        self._write(keeping.add_adapter(adapter))

    def update_adapter(self, adapter: Adapter) -> None:
        """Store an adapter's new promotion, reason or taint."""
        self._write(keeping.update_adapter(adapter))

    def adapters(self) -> list[Adapter]:
        """Return all adapters, oldest first."""
        return self._read(reads.adapters)

    def add_report(self, report: EvalReport) -> None:
        """Store an evaluation report; one of the same adapter and time is replaced."""
        self._write(keeping.add_report(report))

    def reports(self) -> list[EvalReport]:
        """Return all evaluation reports, oldest first."""
        return self._read(reads.reports)

    # What is wanted

    def pool_id(self) -> str:
        """Return the name that the pool got when it was made."""
        return self._read(reads.meta, "pool_id") or ""

    def intent(self) -> Intent:
        text = self._read(reads.meta, "intent")
        return Intent.model_validate_json(text) if text else Intent()

    def set_intent(self, intent: Intent) -> None:
        self._write(keeping.set_meta("intent", intent.model_dump_json()))

    def noted(self, key: str) -> str | None:
        """Return what was noted under a key."""
        return self._read(reads.meta, f"note/{key}")

    def note(self, key: str, value: str) -> None:
        """Note something under a key, in place of what stood there."""
        self._write(keeping.set_meta(f"note/{key}", value))

    def notes(self, prefix: str) -> dict[str, str]:
        """Return what was noted under keys that begin so."""
        found = self._read(reads.metas, f"note/{prefix}")
        return {key.removeprefix("note/"): value for key, value in found.items()}

    def forget(self, keys: Collection[str]) -> None:
        """Drop what was noted under some keys."""
        self._write(keeping.drop_metas([f"note/{key}" for key in keys]))

    def shares(self) -> dict[str, float]:
        """Return the current target share of each category; empty where none was ever set."""
        return {change.category: change.share for change in self.share_history()}

    def share_history(self) -> list[ShareChange]:
        return self._read(reads.shares)

    def set_shares(self, shares: Mapping[str, float], reason: str | Mapping[str, str]) -> None:
        """Store new target shares and why they are so, all or none; those before stay in the history."""
        self._write(keeping.set_shares(shares, reason, self._now()))

    def reading(self) -> AbstractContextManager[Connection]:
        """Yield a connection that sees one state of the pool; keep it briefly, for the WAL grows meanwhile."""
        return self._reader.connection()

    def _read(self, query: Callable[..., T], *arguments: object) -> T:
        return self._reader.ask(query, *arguments)

    def _write(self, write: writes.Write[T]) -> T:
        return self.submit(write).result()
