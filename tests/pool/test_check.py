"""The check finds what is wrong and nothing else."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.records import Completion, Request
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, RequestFailure, Unreadable
from tests.postgres import PostgresServer, database_of

Decide = Callable[..., Decided]


@pytest.fixture
def folder(
    tmp_path: Path,
    decide: Decide,
    decide_proposal: Decide,
    ask: Callable[[str], Request],
    answer: Callable[..., Completion],
    configured: Callable[..., PoolConfig],
) -> Path:
    """A closed pool with something in every table that is counted."""
    with Pool.open(tmp_path, configured(first_target=1)) as pool:
        pool.add_requests([ask("a"), ask("b"), ask("c")])
        pool.add_completions([answer("a")])
        pool.add_failures([RequestFailure("b", "EndpointTimeoutError", "")])
        pool.add_unreadable([Unreadable("a", "no_json", "")])
        pool.commit([decide("one"), decide("two", accepted=False), decide("one"), decide_proposal("p", accepted=False)])
    return tmp_path


def test_a_sound_pool_has_no_problems(folder: Path, configured: Callable[..., PoolConfig]) -> None:
    assert _check(folder, configured()) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE counters SET value = value + 1 WHERE kind = 'candidates' AND key = 'accepted'", "candidates.accepted"),
        ("DELETE FROM counters WHERE kind = 'unreadable'", "unreadable.no_json says 0, the rows are 1"),
        ("DELETE FROM decisions WHERE subject = 'proposal'", "proposal p does not stand as last decided"),
        ("UPDATE decisions SET is_accepted = 0 WHERE is_accepted = 1", "does not stand as last decided"),
        ("UPDATE runs SET round = 5", "gaps"),
        ("DELETE FROM requests WHERE id = 'a'", "completions"),
        ("DELETE FROM occurrences", "occurrences. says 1, the rows are 0"),
        ("UPDATE completions SET prompt_tokens = 9", "prompt_tokens.local says 3, the rows are 9"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path, damage: str, told: str, pool_url: str, request: pytest.FixtureRequest
) -> None:
    if pool_url == "sqlite":
        with closing(sqlite3.connect(folder / "pool.sqlite3")) as connection:
            connection.executescript(f"PRAGMA foreign_keys = OFF; {damage}")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        server.execute(f"SET session_replication_role = replica; {damage}", database_of(pool_url))
    problems = _check(folder, PoolConfig(url=pool_url))
    assert any(told in problem for problem in problems), problems


def _check(folder: Path, config: PoolConfig) -> list[str]:
    with Pool.open(folder, config, read_only=True) as pool:
        return check(pool)
