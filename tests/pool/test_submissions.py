"""What services hand to the leader is stored, taken once in a term, and answered with the decision itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import Candidate
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Answer, Decided, HandedOver, Kind
from seedbed.pool.submissions import ANSWERS_KEPT_S, Submissions
from tests.postgres import PostgresServer

Decide = Callable[..., Decided]


def handed(one: Decided, number: int = 0) -> HandedOver:
    return HandedOver(f"ticket {number}", Kind.CANDIDATE, one.subject.model_dump_json())


def test_what_is_handed_over_is_taken_in_the_order_it_came(pool: Pool, decide: Decide) -> None:
    rows = [decide(f"row {number}") for number in range(70)]
    pool.submissions.hand_over([handed(row, number) for number, row in enumerate(rows)]).result()
    first, rest = (pool.submissions.lease(pool.epoch, count).result() for count in (32, 100))
    assert [len(first), len(rest)] == [32, 38]
    taken = [Candidate.model_validate_json(one.record) for one in first + rest]
    assert taken == [row.subject for row in rows]
    assert {one.node for one in first + rest} == {pool.node}
    assert [one.number for one in first + rest] == sorted(one.number for one in first + rest)


def test_a_term_takes_each_row_once_and_the_next_takes_what_is_unanswered(pool: Pool, decide: Decide) -> None:
    rows = [decide(f"row {number}") for number in range(3)]
    pool.submissions.hand_over([handed(row) for row in rows]).result()
    assert pool.submissions.has_waiting(1)
    taken = pool.submissions.lease(1).result()
    assert not pool.submissions.has_waiting(1)
    assert pool.submissions.lease(1).result() == []
    pool.submissions.answer([Answer(taken[0].number, is_accepted=True)]).result()
    assert pool.submissions.has_waiting(2)
    assert pool.submissions.lease(2).result() == taken[1:]


def test_a_decision_and_its_answer_are_one_transaction(pool: Pool, decide: Decide) -> None:
    good, bad = decide("good"), decide("bad", accepted=False)
    pool.submissions.hand_over([handed(good, 1), handed(bad, 2)]).result()
    numbers = [one.number for one in pool.submissions.lease(pool.epoch).result()]
    skipping = replace(bad, decision=bad.decision.model_copy(update={"sequence": 7}), submission=numbers[1])
    with pytest.raises(PoolError, match="sequence 0, got 7"):
        pool.commit([replace(good, submission=numbers[0]), skipping])
    assert pool.submissions.answers() == []
    assert pool.submissions.undecided() == {pool.node: 2}
    pool.commit([replace(good, submission=numbers[0]), replace(bad, submission=numbers[1])])
    assert pool.submissions.answers() == [
        Answer(numbers[0], True, id="ticket 1"),
        Answer(numbers[1], False, "rouge", "near_duplicate", id="ticket 2"),
    ]
    assert pool.submissions.undecided() == {}
    assert pool.accepted_count() == 1
    assert check(pool) == []


def test_fetched_answers_go_with_the_next_rows_and_forgotten_ones_after_a_while(
    tmp_path: Path, configured: Callable[..., PoolConfig], decide: Decide
) -> None:
    clock = [1000.0]
    with Pool.open(tmp_path, configured(), now=lambda: clock[0]) as pool:
        pool.submissions.hand_over([handed(decide(f"row {number}"), number) for number in range(3)]).result()
        numbers = [one.number for one in pool.submissions.lease(1).result()]
        pool.submissions.answer([Answer(number, is_accepted=False) for number in numbers[:2]]).result()
        pool.submissions.hand_over([], fetched=numbers[:1]).result()
        assert [answer.number for answer in pool.submissions.answers()] == numbers[1:2]
        clock[0] += ANSWERS_KEPT_S + 1
        assert pool.submissions.drop_old().result() == 1
        assert pool.submissions.answers() == []
        assert pool.submissions.undecided() == {pool.node: 1}


def test_texts_that_no_database_takes_are_handed_over(pool: Pool) -> None:
    pool.submissions.hand_over([HandedOver("one", Kind.RELEASE, 'a\0b \ud800 "c" {d,e} \\')]).result()
    (taken,) = pool.submissions.lease(pool.epoch).result()
    assert taken.record == 'a\ufffdb \ufffd "c" {d,e} \\'


@pytest.mark.real
def test_services_on_one_server_get_their_own_answers(
    tmp_path: Path, postgres_server: PostgresServer, decide: Decide
) -> None:
    config = PoolConfig(url=postgres_server.new_database())
    with Pool.open(tmp_path / "a", config) as leader, Pool.open(tmp_path / "b", config, stands_by=True) as node:
        both: list[tuple[Submissions, Decided]] = [
            (leader.submissions, decide("one")),
            (node.submissions, decide("two")),
        ]
        for submissions, row in both:
            submissions.hand_over([handed(row)]).result()
        assert node.submissions.undecided() == {leader.node: 1, node.node: 1}
        taken = leader.submissions.lease(leader.epoch).result()
        with pytest.raises(PoolError, match="does not lead"):
            node.submissions.lease(leader.epoch + 1).result()
        answers = [(one.node, one.number) for one in taken]
        leader.submissions.answer([Answer(number, is_accepted=True) for _, number in answers]).result()
        for submissions, identity in ((leader.submissions, leader.node), (node.submissions, node.node)):
            assert [answer.number for answer in submissions.answers()] == [
                number for node_id, number in answers if node_id == identity
            ]
