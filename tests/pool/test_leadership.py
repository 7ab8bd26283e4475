"""One process leads a pool on a server; what another one decided is refused."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import NotLeadingError, WorkspaceHeldError
from seedbed.core.records import Request
from seedbed.pool.check import check
from seedbed.pool.leadership import read_leader
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from tests.postgres import PostgresServer, database_of

pytestmark = pytest.mark.real
Decide = Callable[..., Decided]

LEADS = """
import sys
from pathlib import Path
from seedbed.core.config import PoolConfig
from seedbed.pool.pool import Pool
from tests.pool.conftest import decide

pool = Pool.open(Path(sys.argv[1]), PoolConfig(url=sys.argv[2]), command="the first")
print("leads", flush=True)
for line in sys.stdin:
    try:
        pool.commit([decide(line.strip())])
        print("stored", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def config(postgres_server: PostgresServer) -> PoolConfig:
    return PoolConfig(url=postgres_server.new_database(), first_target=1000)


class Other:
    """A process that leads and commits a row for each line."""

    def __init__(self, folder: Path, config: PoolConfig) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEADS, str(folder), config.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "leads\n"

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def commit(self, line: str) -> str:
        self.say(line)
        return self.hear()


@pytest.fixture
def other(tmp_path: Path, config: PoolConfig) -> Iterator[Other]:
    found = Other(tmp_path / "other", config)
    yield found
    found.process.kill()
    found.process.communicate()


def test_a_second_process_stands_by_and_may_store_answers_but_decide_nothing(
    tmp_path: Path, config: PoolConfig, other: Other, decide: Decide, ask: Callable[[str], Request]
) -> None:
    assert other.commit("one") == "stored"
    with pytest.raises(WorkspaceHeldError, match=f"the first on .*, pid {other.process.pid} .*stop that one"):
        Pool.open(tmp_path, config)
    with Pool.open(tmp_path, config, stands_by=True) as pool:
        assert (pool.is_led, pool.try_lead()) == (False, False)
        assert f"pid {other.process.pid}" in pool.leader()
        pool.add_requests([ask("a")])
        with pytest.raises(NotLeadingError, match="does not lead the pool"):
            pool.commit([decide("two")])
        assert other.commit("three") == "stored"
        assert pool.accepted_count() == 2
        assert check(pool) == []


def test_who_stands_by_leads_when_the_leader_is_killed(
    tmp_path: Path, config: PoolConfig, other: Other, decide: Decide
) -> None:
    assert other.commit("one") == "stored"
    with Pool.open(tmp_path, config, stands_by=True) as pool:
        other.process.kill()
        taken_s = _wait_to_lead(pool)
        assert pool.accepted_count() == 1
        assert pool.commit([decide("two")]).accepted == 2
        assert _epoch(pool) == 2
    print(f"took over after {taken_s:.2f} s")


def test_a_leader_that_stood_still_is_replaced_and_its_late_write_refused(
    tmp_path: Path, config: PoolConfig, other: Other, decide: Decide
) -> None:
    assert other.commit("one") == "stored"
    with Pool.open(tmp_path, config, stands_by=True) as pool:
        os.kill(other.process.pid, signal.SIGSTOP)
        other.say("late")  # read when it wakes
        taken_s = _wait_to_lead(pool)
        pool.commit([decide("two")])
        os.kill(other.process.pid, signal.SIGCONT)
        assert other.hear() == "NotLeadingError"
        assert other.commit("later") == "NotLeadingError"
        assert sorted(row.instruction for row in pool.accepted()) == ["one", "two"]
        assert check(pool) == []
    print(f"took over after {taken_s:.2f} s")


def test_a_leader_whose_sessions_are_ended_leads_on_where_nobody_led_between(
    tmp_path: Path, config: PoolConfig, postgres_server: PostgresServer, decide: Decide
) -> None:
    with Pool.open(tmp_path, config) as pool:
        pool.commit([decide("one")])
        _end_sessions(postgres_server, config)
        assert pool.commit([decide("two")]).accepted == 2
        assert pool.is_led
        while _epoch(pool) == 1:  # its own session, which broke too, is looked after once a second
            time.sleep(0.05)
        assert pool.is_led
        assert _epoch(pool) == 2


@pytest.mark.parametrize("way", ["fast", "immediate", "sessions"])
def test_no_write_is_lost_or_doubled_when_the_server_goes_away_under_load(
    tmp_path: Path, config: PoolConfig, postgres_server: PostgresServer, decide: Decide, way: str
) -> None:
    told: list[str] = []
    stop = threading.Event()

    def write(thread: int) -> None:
        number = 0
        while not stop.is_set():
            item = decide(f"{thread} {number}")
            assert pool.commit([item]).already_known == ()
            told.append(item.subject.id)
            number += 1

    with Pool.open(tmp_path, config) as pool:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(told)
            while len(told) < before + 50:
                time.sleep(0.01)
            if way == "sessions":
                for _ in range(20):
                    _end_sessions(postgres_server, config)
                    time.sleep(0.02)
            else:
                postgres_server.stop(way)
                postgres_server.start()
            before, began = len(told), time.monotonic()
            while len(told) < before + 8:
                time.sleep(0.01)
            print(f"{way}: resumed {time.monotonic() - began:.2f} s after the server was back")
        stop.set()
        for thread in threads:
            thread.join()
        stored = [row.id for row in pool.accepted()]
        assert sorted(stored) == sorted(told)
        assert pool.accepted_count() == len(stored)
        assert pool.counts().occurrences == 0
        assert check(pool) == []


def _wait_to_lead(pool: Pool) -> float:
    began = time.monotonic()
    while not pool.try_lead():
        time.sleep(0.2)
    return time.monotonic() - began


def _epoch(pool: Pool) -> int:
    with pool.reading() as connection:
        leader = read_leader(connection)
    assert leader is not None
    return leader.epoch


def _end_sessions(server: PostgresServer, config: PoolConfig) -> None:
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seedbed'",
        database_of(config.url),
    )
