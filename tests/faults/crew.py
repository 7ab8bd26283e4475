"""Several `seedbed serve` on one pool of a PostgreSQL server, each a process that tells what it was told as accepted.

Training is replaced by an attempt that is written down, so that rounds pass in moments.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from seedbed.core.config import PoolConfig
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.service.init import create_workspace
from tests.postgres import PostgresServer, database_of

STEP = 60
"""Accepted rows from one trigger to the next."""
TAKEOVER_S = 10.0
"""What docs/guarantees.md promises; the only time limit, since it is the promise."""
SCORER, WORD = RougeScorer(["rougeL"]), re.compile("[a-z0-9]+")

RUNNER = """
import sys
from seedbed.core.records import RunState
from seedbed.service import crew, taking
from seedbed.service.cli import main
from seedbed.service.decider import DecisionThread
from seedbed.service.rounds import Rounds
from seedbed.service.submitting import Submitter
from seedbed.service.work import close_work

crew.LOST_AFTER_S = taking.LOST_AFTER_S = float(sys.argv.pop(1))

def telling(kind):
    decide = kind.decide
    async def told(self, rows, *more):
        decisions = await decide(self, rows, *more)
        if not more:  # rows of other services are told there
            for decision in decisions:
                if decision.accepted:
                    print(decision.subject_id, flush=True)
        return decisions
    kind.decide = told

async def round_of(self, number):
    run = await self._triggered(number)
    if run is None or self._stop.is_wanted:
        return False
    await close_work(self._context.pool)
    if run.state is RunState.WAITING:
        attempt = self._context.pool.add_attempt(run.round)
        self._context.pool.end_attempt(attempt, RunState.SUCCEEDED)
        done = {"state": RunState.SUCCEEDED, "attempts": attempt.number}
        self._context.pool.update_run(run.model_copy(update=done))
    return True

telling(Submitter)
telling(DecisionThread)
Rounds._round = round_of
main()
"""


class Service:
    """A `seedbed serve` as a process of its own; `told` are the candidates that its engine was told as accepted."""

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        environment: dict[str, str],
        *,
        lost_after_s: float = 30.0,
        before: Sequence[str] = (),
    ) -> None:
        """Start it.

        Args:
            folder: Of its workspace, made where it is not there.
            endpoint: The base URL of its teacher.
            environment: With the pool's URL among its settings.
            lost_after_s: When it gives others up, as the leader.
            before: A command that it is run by, such as `ip netns exec NAME`.
        """
        if not folder.exists():
            create_workspace(folder, base_url=endpoint, model="scripted")
        self.folder = folder
        self.told: list[str] = []
        command = [sys.executable, "-c", RUNNER, str(lost_after_s), "-w", str(folder), "serve", "--port", "0"]
        self.errors = folder / "errors.txt"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*before, *command],
                env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it at any instruction."""
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """Let it drain; returns its exit code."""
        self.process.terminate()
        self.process.wait()
        self._ended()
        return self.process.returncode

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return the events of a kind that it logged, those of earlier processes of the folder too."""
        log = self.folder / "logs" / "events.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        # A line that a kill cut off is none.
        return [found for line in lines if line.endswith("}") and (found := json.loads(line))["kind"] == kind]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n") and len(line) == 33:
                self.told.append(line.strip())

    def _ended(self) -> None:
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_until(is_so: Callable[[], bool], services: Sequence[Service] = ()) -> float:
    """Wait without a limit of its own (pytest's stands behind it); returns the seconds it took.

    Raises:
        AssertionError: One of the services ended meanwhile.
    """
    began = time.monotonic()
    while not is_so():
        for service in services:
            assert service.is_running, service.errors.read_text()[-4000:]
        time.sleep(0.1)
    return time.monotonic() - began


class Watch:
    """Reads what the pool holds, from outside."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server, self._database = server, database_of(url)

    def number(self, query: str) -> int:
        if self._server.execute("SELECT to_regclass('nodes') IS NOT NULL", self._database) != [(True,)]:
            return 0
        ((found,),) = self._server.execute(query, self._database)
        assert isinstance(found, int)
        return found

    def accepted(self) -> int:
        return self.number("SELECT count(*) FROM candidates WHERE is_accepted = 1")

    def undecided(self) -> int:
        return self.number("SELECT count(*) FROM submissions WHERE is_accepted IS NULL")

    def leader(self) -> int:
        """Return the process that leads, by what the services told."""
        leads = "SELECT record FROM nodes WHERE record::json ->> 'role' = 'leader' ORDER BY seen_at DESC LIMIT 1"
        return self.number(f"SELECT coalesce(max((record::json ->> 'process')::int), 0)::int FROM ({leads}) AS leader")

    def epoch(self) -> int:
        query = "SELECT coalesce(max(split_part(value, ' ', 1)::int), 0)::int FROM meta WHERE key = 'leader'"
        return self.number(query)


def check_pool(folder: Path, url: str, told: Sequence[str]) -> tuple[int, int]:
    """Check that nothing is lost, twice or too alike and that each trigger fired once; return rows and triggers."""
    with Pool.open(folder / "look", PoolConfig(url=url, first_target=STEP, step=STEP), read_only=True) as pool:
        stored = [candidate.id for candidate in pool.accepted()]
        assert len(stored) == len(set(stored)) == pool.accepted_count()
        assert len(told) == len(set(told))
        assert set(told) <= set(stored)
        assert violations(pool) == []
        runs = pool.runs()
        assert [run.threshold for run in runs] == list(range(STEP, len(stored) + 1, STEP))
        assert [run.round for run in runs if run.attempts > 1] == []
        assert check(pool) == []
        return len(stored), len(runs)


def settings(url: str, step: int = STEP) -> dict[str, str]:
    return {
        "SEEDBED__POOL__URL": url,
        "SEEDBED__POOL__FIRST_TARGET": str(step),
        "SEEDBED__POOL__STEP": str(step),
        "SEEDBED__GENERATION__CONCURRENCY": "8",
        "SEEDBED__GENERATION__DRAIN_GRACE_S": "20",
    }


def violations(pool: Pool) -> list[tuple[str, str]]:
    """Return the pairs of accepted rows of different tasks whose instructions are too alike, by another library."""
    rows = [(row, Counter(WORD.findall(row.instruction.lower()))) for row in pool.accepted()]
    return [
        (one.instruction, other.instruction)
        for (one, words), (other, others) in itertools.combinations(rows, 2)
        # F = 2L/(a+b) cannot pass 0.7 where fewer words than that are common.
        if one.task_id != other.task_id
        and 2 * (words & others).total() > 0.7 * (words.total() + others.total())
        and SCORER.score(one.instruction, other.instruction)["rougeL"].fmeasure > 0.7
    ]
