"""The services on one pool are known, and so is what is lost with one that is gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.records import Completion, Node, NodeRole, Phase, Request
from seedbed.pool.check import check
from seedbed.pool.nodes import FORGOTTEN_AFTER_S, LOST
from seedbed.pool.pool import Pool
from tests.postgres import PostgresServer, database_of


def node(pool: Pool, name: str = "first", **more: int) -> Node:
    return Node(
        id=pool.node or "alone",
        name=name,
        host="h",
        process=7,
        role=NodeRole.GENERATOR,
        phase=Phase.GENERATING,
        **more,
    )


def test_a_service_is_shown_as_it_told_last_until_it_leaves(pool: Pool) -> None:
    pool.nodes.tell(node(pool, in_flight=3))
    pool.nodes.tell(told := node(pool, in_flight=5))
    (found,) = pool.nodes.all()
    assert found.model_copy(update={"last_seen_s": 0.0}) == told
    assert 0 <= found.last_seen_s < 60
    pool.nodes.leave(told.id)
    assert pool.nodes.all() == ()


@pytest.mark.real
def test_the_requests_of_a_service_that_is_gone_are_counted_and_closed(
    tmp_path: Path,
    postgres_server: PostgresServer,
    ask: Callable[[str], Request],
    answer: Callable[..., Completion],
) -> None:
    config = PoolConfig(url=postgres_server.new_database())
    with Pool.open(tmp_path / "a", config) as leader:
        leader.add_requests([ask("of the leader")])
        with Pool.open(tmp_path / "b", config, stands_by=True) as other:
            other.add_requests([ask(f"r{number}") for number in range(4)])
            other.add_completions([answer("r0")])
            other.nodes.tell(gone := node(other, "second", in_flight=9))
        assert leader.nodes.give_up(gone) == 3
        (found,) = leader.nodes.all()
        assert (found.name, found.is_lost, found.in_flight) == ("second", True, 3)
        assert [request.id for request in leader.waiting_requests()] == ["of the leader"]
        assert (leader.counts().failed, leader.unanswered()) == (3, 1)
        kinds = postgres_server.execute("SELECT DISTINCT kind FROM failures", database_of(config.url))
        assert kinds == [(LOST,)]
        # What came back all the same counts.
        with Pool.open(tmp_path / "b", config, stands_by=True) as other:
            other.add_completions([answer("r1")])
        assert (leader.counts().failed, leader.spent().requests) == (2, 2)
        assert leader.nodes.give_up(gone) == 0
        assert check(leader) == []


@pytest.mark.real
def test_a_service_that_is_gone_for_an_hour_is_forgotten(tmp_path: Path, postgres_server: PostgresServer) -> None:
    config = PoolConfig(url=postgres_server.new_database())
    with Pool.open(tmp_path, config) as pool:
        pool.nodes.tell(told := node(pool))
        age = f"UPDATE nodes SET seen_at = seen_at - {FORGOTTEN_AFTER_S + 1}"
        postgres_server.execute(age, database_of(config.url))
        assert pool.nodes.all() == ()
        pool.nodes.give_up(told)
        assert postgres_server.execute("SELECT count(*) FROM nodes", database_of(config.url)) == [(0,)]
