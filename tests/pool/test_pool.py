"""What goes into the pool comes out again, counted."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import MissingFileError, PoolError, WorkspaceHeldError
from seedbed.core.records import (
    Adapter,
    Candidate,
    Completion,
    Decider,
    Decision,
    Lineage,
    Promotion,
    Request,
    RunState,
    Subject,
)
from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, Intent, IntentState, RequestFailure, Unreadable

Decide = Callable[..., Decided]
Configured = Callable[..., PoolConfig]
Ask = Callable[[str], Request]
Answer = Callable[..., Completion]


def test_a_request_waits_until_it_is_answered_or_given_up(pool: Pool, ask: Ask, answer: Answer) -> None:
    pool.add_requests([ask("a"), ask("b"), ask("c")])
    assert pool.unanswered() == 3
    pool.add_completions([answer("a")])
    pool.add_failures([RequestFailure("b", "EndpointTimeoutError", "too slow")])
    assert pool.unanswered() == 1
    assert [request.id for request in pool.waiting_requests()] == ["c"]
    assert pool.counts().failed == 1


def test_requests_and_completions_come_back_equal(pool: Pool, ask: Ask, answer: Answer) -> None:
    pool.add_requests([ask("a")])
    pool.add_completions([answer("a")])
    assert pool.request("a") == ask("a")
    assert pool.completion("a") == answer("a")
    assert list(pool.completions()) == [answer("a")]
    assert pool.request("b") is None


def test_storing_a_request_or_completion_again_changes_nothing(pool: Pool, ask: Ask, answer: Answer) -> None:
    for _ in range(2):
        pool.add_requests([ask("a")])
        pool.add_completions([answer("a")])
    used = pool.spent()
    assert (used.requests, used.prompt_tokens, used.completion_tokens) == (1, 3, 4)
    assert pool.unanswered() == 0


def test_an_answer_after_the_request_was_given_up_counts(pool: Pool, ask: Ask, answer: Answer) -> None:
    pool.add_requests([ask("a")])
    pool.add_failures([RequestFailure("a", "EndpointTimeoutError", "too slow")])
    pool.add_completions([answer("a")])
    assert (pool.counts().failed, pool.unanswered(), pool.spent().requests) == (0, 0, 1)
    assert check(pool) == []


def test_use_is_told_by_endpoint(pool: Pool, ask: Ask, answer: Answer) -> None:
    pool.add_requests([ask("a"), ask("b"), ask("c")])
    pool.add_completions([answer("a", endpoint="x"), answer("b", endpoint="y"), answer("c", endpoint="y")])
    used = pool.spent()
    assert {name: use.requests for name, use in used.endpoints.items()} == {"x": 1, "y": 2}
    assert used.endpoints["y"].completion_tokens == 8


def test_a_completion_of_an_unknown_request_is_refused(pool: Pool, answer: Answer) -> None:
    with pytest.raises(PoolError, match="request zz, which the pool does not hold"):
        pool.add_completions([answer("zz")])


def test_candidates_come_back_equal_with_their_decisions(pool: Pool, decide: Decide) -> None:
    taken, refused = decide("Name a colour"), decide("Name one colour", accepted=False)
    pool.commit([taken, refused])
    assert pool.candidate(taken.subject.id) == taken.subject
    assert pool.candidate(refused.subject.id) == refused.subject
    assert pool.decisions(refused.subject.id) == [refused.decision]
    assert [candidate.id for candidate in pool.accepted()] == [taken.subject.id]
    assert pool.recent(False, 5) == [refused]


def test_counts_are_by_filter_and_reason_and_by_category(pool: Pool, decide: Decide) -> None:
    pool.commit(
        [
            decide("one"),
            decide("two", category="coding"),
            decide("three", verified="coding"),
            decide("four", accepted=False),
            decide("five", accepted=False, filter="wellformed", reason="too_short"),
        ]
    )
    pool.add_unreadable([Unreadable("r1", "no_json", "{{{")])
    counts = pool.counts()
    assert (counts.decided, counts.accepted) == (5, 3)
    assert counts.refused == {"parse.no_json": 1, "rouge.near_duplicate": 1, "wellformed.too_short": 1}
    assert counts.categories == {"coding": 2, "qa": 1}
    assert counts.decided_categories == {"coding": 2, "qa": 3}
    assert counts.recipes == {"alpaca": 3}
    assert pool.unreadable() == [Unreadable("r1", "no_json", "{{{")]


def test_proposals_are_kept_and_counted_apart(pool: Pool, decide_proposal: Decide) -> None:
    taken, refused = decide_proposal("p1"), decide_proposal("p2", accepted=False)
    pool.commit([taken, refused])
    counts = pool.counts()
    assert (counts.decided, counts.proposals_accepted) == (0, 1)
    assert counts.proposals_refused == {"rouge.near_duplicate": 1}
    assert pool.proposal("p1") == taken.subject
    assert pool.recent(False, 3, Subject.PROPOSAL) == [refused]


def test_the_same_triple_again_is_an_occurrence_and_its_first_decision_stands(pool: Pool, decide: Decide) -> None:
    first = decide("Name a colour", accepted=False)
    pool.commit([first])
    committed = pool.commit([decide("Name a colour")])
    assert committed.already_known == (first.subject.id,)
    assert committed.accepted == 0
    assert pool.decisions(first.subject.id) == [first.decision]
    assert pool.counts().occurrences == 1
    assert [seen.request_ids for seen in pool.occurrences(first.subject.id)] == [("r1",)]


def test_twins_in_one_commit_enter_once(pool: Pool, decide: Decide) -> None:
    committed = pool.commit([decide("Name a colour"), decide("Name a colour")])
    assert (committed.accepted, len(committed.already_known)) == (1, 1)
    assert len(list(pool.accepted())) == 1


def test_a_person_can_reverse_a_decision_and_the_counts_follow(pool: Pool, decide: Decide) -> None:
    first = decide("Name a colour", accepted=False)
    pool.commit([first])
    assert pool.next_sequence(first.subject.id) == 1
    pool.commit([decide("Name a colour", sequence=1, by=Decider.PERSON)])
    counts = pool.counts()
    assert (counts.accepted, counts.refused, counts.categories) == (1, {}, {"qa": 1})
    pool.commit([decide("Name a colour", sequence=2, accepted=False, by=Decider.PERSON, reason="wrong")])
    counts = pool.counts()
    assert (counts.accepted, counts.refused, counts.categories) == (0, {"rouge.wrong": 1}, {})
    assert [decision.accepted for decision in pool.decisions(first.subject.id)] == [False, True, False]
    assert check(pool) == []


@pytest.mark.parametrize("sequence", [1, 3])
def test_a_decision_that_skips_a_number_is_refused(pool: Pool, decide: Decide, sequence: int) -> None:
    if sequence == 3:
        pool.commit([decide("Name a colour")])
    with pytest.raises(PoolError, match=f"has sequence {sequence // 3}, got {sequence}"):
        pool.commit([decide("Name a colour", sequence=sequence)])


def test_a_commit_that_reaches_thresholds_fires_each_once(pool: Pool, decide: Decide) -> None:
    assert pool.commit([decide("0"), decide("1")]).runs == ()
    runs = pool.commit([decide(str(number)) for number in range(2, 6)]).runs
    assert [(run.round, run.threshold) for run in runs] == [(0, 3), (1, 5)]
    assert pool.commit([decide("3")]).runs == ()
    assert [run.state for run in pool.runs()] == [RunState.WAITING, RunState.WAITING]


def test_a_round_fires_once_though_the_count_falls_and_rises(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("0"), decide("1"), decide("2")])
    pool.commit([decide("2", sequence=1, accepted=False, by=Decider.PERSON)])
    assert pool.commit([decide("2", sequence=2, by=Decider.PERSON)]).runs == ()
    assert len(pool.runs()) == 1


def test_a_lowered_target_fires_when_asked(tmp_path: Path, decide: Decide, configured: Configured) -> None:
    with Pool.open(tmp_path, configured(first_target=100)) as pool:
        pool.commit([decide("0"), decide("1")])
    with Pool.open(tmp_path, configured(first_target=2)) as pool:
        assert [run.round for run in pool.fire_due()] == [0]
        assert pool.fire_due() == ()


def test_a_run_keeps_its_attempts_and_state(pool: Pool, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(3)])
    attempt = pool.add_attempt(0)
    run = pool.run(0)
    assert run is not None
    assert (run.attempts, run.state) == (1, RunState.RUNNING)
    pool.end_attempt(attempt, RunState.FAILED, "exit code 1")
    pool.update_run(run.model_copy(update={"state": RunState.FAILED, "last_error": "exit code 1", "snapshot_id": "s"}))
    assert [(one.state, one.error) for one in pool.attempts(0)] == [(RunState.FAILED, "exit code 1")]
    stored = pool.run(0)
    assert stored is not None
    assert (stored.state, stored.snapshot_id, stored.attempts) == (RunState.FAILED, "s", 1)
    with pytest.raises(PoolError, match="round 7"):
        pool.add_attempt(7)


def test_adapters_and_intent_and_shares_are_kept(tmp_path: Path, configured: Configured) -> None:
    adapter = Adapter(
        id="a1", round=0, snapshot_id="s", base="tiny", base_sha256="0", path="adapters/a1", created_at=1.0
    )
    with Pool.open(tmp_path, configured()) as pool:
        assert pool.intent() == Intent()
        pool.add_adapter(adapter)
        pool.add_adapter(adapter)
        with pytest.raises(PoolError, match="another adapter a1"):
            pool.add_adapter(adapter.model_copy(update={"path": "elsewhere"}))
        pool.update_adapter(adapter.model_copy(update={"promotion": Promotion.HELD}))
        pool.set_intent(Intent(state=IntentState.PAUSED, target=60))
        pool.set_shares({"qa": 0.5, "coding": 0.5}, "the base")
        pool.set_shares({"qa": 0.7}, "rows of qa are missing")
        identity = pool.pool_id()
    with Pool.open(tmp_path, configured()) as pool:
        assert [stored.promotion for stored in pool.adapters()] == [Promotion.HELD]
        assert pool.intent() == Intent(state=IntentState.PAUSED, target=60)
        assert pool.shares() == {"qa": 0.7, "coding": 0.5}
        assert [change.reason for change in pool.share_history()][-1] == "rows of qa are missing"
        assert pool.pool_id() == identity != ""


def test_a_report_that_is_stored_again_is_stored_once(pool: Pool) -> None:
    report = EvalReport(
        adapter_id="a1",
        snapshot_id="s",
        base_sha256="0",
        held_out_categories=("closed_qa",),
        scores=(),
        differences=(),
        decision=PromotionDecision.HOLD_UNDECIDED,
        reason="hold: not enough rows to tell",
        created_at=1.0,
    )
    later = report.model_copy(update={"created_at": 2.0})
    for one in (report, report, later):
        pool.add_report(one)
    assert pool.reports() == [report, later]


def test_text_that_no_database_takes_is_stored_with_a_mark(pool: Pool) -> None:
    lineage = Lineage(recipe="alpaca", model="m\ud800")
    candidate = Candidate.of("Say \ud800 and \x00", "", "done", lineage=lineage)
    decision = accepting(candidate)
    pool.commit([decision])
    stored = pool.candidate(candidate.id)
    assert stored is not None
    assert stored.instruction == "Say \ufffd and \ufffd"
    assert stored.lineage.model == "m\ufffd"
    assert Candidate.of(stored.instruction, "", "done", lineage=lineage).id == candidate.id


def accepting(candidate: Candidate) -> Decided:
    return Decided(
        candidate,
        Decision(
            subject=Subject.CANDIDATE,
            subject_id=candidate.id,
            sequence=0,
            accepted=True,
            verdicts=(),
            decided_at=1.0,
        ),
    )


def test_a_sample_has_what_was_asked_for_and_nothing_twice(pool: Pool, decide: Decide) -> None:
    pool.commit([decide(str(number), category="qa" if number % 10 else "rare") for number in range(200)])
    pool.commit([decide(f"refused {number}", accepted=False) for number in range(200)])
    drawn = pool.sample_accepted(8, rng=Random(1))
    assert len({candidate.id for candidate in drawn}) == 8
    rare = pool.sample_accepted(50, rng=Random(1), categories=["rare"])
    assert len(rare) == 20
    assert {candidate.requested_category for candidate in rare} == {"rare"}
    left = pool.sample_accepted(50, rng=Random(1), categories=["rare"], exclude={rare[0].id})
    assert {candidate.id for candidate in left} == {candidate.id for candidate in rare[1:]}
    assert pool.sample_accepted(0, rng=Random(1)) == []


def test_every_accepted_row_is_as_likely_to_be_drawn(pool: Pool, decide: Decide) -> None:
    # Accepted rows lie alone between long runs of refused ones; a draw of "the next accepted row" would favour some.
    pool.commit([decide(str(number), accepted=number in {0, 1, 40}) for number in range(41)])
    rng = Random(7)
    drawn = [pool.sample_accepted(1, rng=rng)[0].instruction for _ in range(600)]
    # 600 draws of three: 200 each, standard deviation 11.5; six of them are 70.
    assert all(130 < drawn.count(text) < 270 for text in ("0", "1", "40"))


def test_a_large_pool_is_sampled_evenly_without_listing_it(pool: Pool, decide: Decide) -> None:
    pool.commit([decide(str(number), accepted=number % 3 == 0) for number in range(900)])
    rng = Random(5)
    drawn = [int(one.instruction) for _ in range(100) for one in pool.sample_accepted(20, rng=rng)]
    assert {number % 3 for number in drawn} == {0}
    # 2,000 draws among 300 rows: each half of them 1,000 times, standard deviation 22; six of them are 134.
    assert abs(sum(number < 450 for number in drawn) - 1000) < 134


def test_ids_are_found_by_their_beginning(pool: Pool, decide: Decide, decide_proposal: Decide) -> None:
    one = decide("one")
    pool.commit([one, decide("two"), decide_proposal("zz-1")])
    assert pool.find(one.subject.id[:12]) == [one.subject.id]
    assert pool.find("zz") == ["zz-1"]
    assert pool.find("%") == []
    assert pool.knows(one.subject.id)
    assert not pool.knows("zz")


def test_a_second_writer_is_told_who_holds_the_workspace(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from seedbed.core.config import PoolConfig\n"
        "from seedbed.pool.pool import Pool\n"
        f"pool = Pool.open(Path({str(tmp_path)!r}), PoolConfig(), command='seedbed generate', now=lambda: 0.0)\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(WorkspaceHeldError, match=f"pid {other.pid}, seedbed generate, since 1970-01-01T00:00:00"):
            Pool.open(tmp_path, PoolConfig())
        with Pool.open(tmp_path, PoolConfig(), read_only=True) as reader:
            assert reader.accepted_count() == 0
        other.stdin.close()
    Pool.open(tmp_path, PoolConfig()).close()


def test_a_reader_sees_what_a_writer_stores_and_cannot_write(
    pool: Pool, tmp_path: Path, decide: Decide, configured: Configured
) -> None:
    with Pool.open(tmp_path, configured(), read_only=True) as reader:
        pool.commit([decide("one")])
        assert reader.accepted_count() == 1
        with pytest.raises(PoolError, match="read-only"):
            reader.commit([decide("two")])


def test_reading_a_pool_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no pool in"):
        Pool.open(tmp_path, PoolConfig(), read_only=True)


def test_a_file_that_is_no_database_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "pool.sqlite3").write_text("something else\n" * 100)
    with pytest.raises(PoolError, match="no SQLite database"):
        Pool.open(tmp_path, PoolConfig())
    (tmp_path / "pool.sqlite3").unlink()
    Pool.open(tmp_path, PoolConfig()).close()


def test_a_closed_pool_takes_nothing_more(tmp_path: Path, decide: Decide, configured: Configured) -> None:
    pool = Pool.open(tmp_path, configured())
    pool.close()
    pool.close()
    with pytest.raises(PoolError, match="is closed"):
        pool.commit([decide("one")])


def test_checks_are_counted_once_for_each_row_and_recounted(
    tmp_path: Path, decide: Decide, configured: Configured
) -> None:
    with Pool.open(tmp_path, configured()) as pool:
        rows = [decide(f"row {number}") for number in range(4)]
        grades: list[dict[str, float]] = [
            {"check.arithmetic": 1.0},
            {"check.arithmetic": 0.0, "check.labels": 1.0},
            {"judge.output": 2.0},
            {},
        ]
        graded = [
            Decided(one.subject.model_copy(update={"grades": given}), one.decision)
            for one, given in zip(rows, grades, strict=True)
        ]
        pool.commit(graded)
        pool.commit(graded)  # seen again: counted before
        counts = pool.counts()
        assert counts.checked == {"check.arithmetic": 2, "check.labels": 1}
        assert counts.checked_wrong == {"check.arithmetic": 1}
        assert check(pool) == []
