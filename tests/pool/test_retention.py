"""Old text goes, and nothing else: rows, verdicts, reasons, ids and counts stay, and so does what is accepted."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import Candidate, Completion, Decider, Decision, Lineage, Request, Subject, Verdict
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, Unreadable
from seedbed.pool.retention import Text

Decide = Callable[..., Decided]
BEFORE = 2000.0
"""Later than the decisions of these tests, which are of second 1000."""


def blank_all(pool: Pool, kind: Text, before: float = BEFORE) -> int:
    return sum(pool.blank(kind, [one.number for one in page]) for page in pool.old_texts(kind, before))


def bytes_of(pool: Pool, kind: Text, before: float = BEFORE) -> list[int]:
    return [one.bytes for page in pool.old_texts(kind, before) for one in page]


def test_a_refused_row_loses_its_text_and_nothing_else(pool: Pool, decide: Decide) -> None:
    refused, accepted = decide("Say größer.", accepted=False), decide("Name a town.")
    pool.commit([refused, accepted])
    counts = pool.counts()
    # "Say größer." is 13 bytes, "The answer to Say größer." 27.
    assert bytes_of(pool, Text.REFUSED_ROWS) == [13 + 27]
    assert blank_all(pool, Text.REFUSED_ROWS) == 1
    left = pool.candidate(refused.subject.id)
    assert left is not None
    assert (left.instruction, left.input, left.output) == ("", "", "")
    assert left.is_blanked
    assert left.lineage == refused.subject.lineage
    assert pool.decisions(left.id) == [refused.decision]
    assert list(pool.accepted()) == [accepted.subject]
    assert pool.counts() == counts
    assert check(pool) == []
    assert bytes_of(pool, Text.REFUSED_ROWS) == []


def test_what_is_not_old_enough_keeps_its_text(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("one", accepted=False)])
    assert bytes_of(pool, Text.REFUSED_ROWS, before=1000.0) == []


def test_the_age_of_a_refusal_is_that_of_the_decision_that_holds(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("one")])
    later = decide("one", accepted=False, sequence=1)
    pool.commit([Decided(later.subject, later.decision.model_copy(update={"decided_at": 3000.0}))])
    assert bytes_of(pool, Text.REFUSED_ROWS, before=2000.0) == []
    assert len(bytes_of(pool, Text.REFUSED_ROWS, before=3001.0)) == 1


def test_the_words_in_a_verdict_go_with_the_row_and_its_numbers_stay(pool: Pool) -> None:
    candidate = Candidate.of("Name a river.", "", "The Rhine.", lineage=Lineage(recipe="alpaca"))
    verdict = Verdict(
        filter="rouge", accepted=False, reason="near_duplicate", score=0.9, threshold=0.7, evidence=("name", "river")
    )
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=0,
        accepted=False,
        verdicts=(verdict,),
        decided_at=1.0,
    )
    pool.commit([Decided(candidate, decision)])
    blank_all(pool, Text.REFUSED_ROWS)
    assert pool.decisions(candidate.id)[0].verdicts == (verdict.model_copy(update={"evidence": ()}),)


def test_what_a_person_brought_stays_and_its_refused_answer_goes(pool: Pool, decide: Decide) -> None:
    former = decide("one", accepted=False)
    brought = Candidate.of("My own question?", "", "No.", lineage=Lineage(recipe="answer"))
    pool.commit([Decided(brought, former.decision.model_copy(update={"subject_id": brought.id}))])
    assert blank_all(pool, Text.REFUSED_ROWS) == 1
    left = pool.candidate(brought.id)
    assert left is not None
    assert (left.instruction, left.output, left.is_blanked) == ("My own question?", "", True)


def test_a_row_that_never_had_an_output_is_not_taken_for_a_blanked_one() -> None:
    assert not Candidate.of("Name a river.", "", "", lineage=Lineage(recipe="alpaca")).is_blanked


def test_a_row_accepted_after_it_was_found_keeps_its_text(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("one", accepted=False)])
    (page,) = pool.old_texts(Text.REFUSED_ROWS, BEFORE)
    pool.commit([decide("one", sequence=1, by=Decider.PERSON)])
    assert pool.blank(Text.REFUSED_ROWS, [one.number for one in page]) == 0
    assert [one.instruction for one in pool.accepted()] == ["one"]


def test_a_row_read_before_and_accepted_after_its_text_went_has_it_again(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("one", accepted=False)])
    blank_all(pool, Text.REFUSED_ROWS)
    pool.commit([decide("one", sequence=1, by=Decider.PERSON)])
    assert [(one.instruction, one.output) for one in pool.accepted()] == [("one", "The answer to one")]
    assert check(pool) == []


def test_a_row_without_its_text_cannot_be_accepted(pool: Pool, decide: Decide) -> None:
    pool.commit([refused := decide("one", accepted=False)])
    blank_all(pool, Text.REFUSED_ROWS)
    left = pool.candidate(refused.subject.id)
    assert left is not None
    with pytest.raises(PoolError, match="no text any more"):
        pool.commit([Decided(left, decide("one", sequence=1).decision)])


def test_the_same_triple_coming_again_is_still_known(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("one", accepted=False)])
    blank_all(pool, Text.REFUSED_ROWS)
    assert pool.commit([decide("one")]).already_known == (decide("one").subject.id,)
    assert pool.accepted_count() == 0


def test_refused_proposals_and_unreadable_pieces_lose_their_text(pool: Pool, decide_proposal: Decide) -> None:
    pool.commit([decide_proposal("p", accepted=False), decide_proposal("q")])
    pool.add_unreadable([Unreadable("r", "no_json", "1. What")])
    assert bytes_of(pool, Text.REFUSED_PROPOSALS) == [len("Do p")]
    assert bytes_of(pool, Text.UNREADABLE, before=6000.0) == [len("1. What")]
    blank_all(pool, Text.REFUSED_PROPOSALS)
    blank_all(pool, Text.UNREADABLE, before=6000.0)
    left, kept = pool.proposal("p"), pool.proposal("q")
    assert left is not None
    assert left.is_blanked
    assert kept is not None
    assert kept.instruction == "Do q"
    assert [(one.reason, one.text) for one in pool.unreadable()] == [("no_json", "")]
    assert check(pool) == []


def test_completions_and_prompts_lose_their_text_and_a_waiting_request_does_not(
    pool: Pool, ask: Callable[[str], Request], answer: Callable[..., Completion]
) -> None:
    pool.add_requests([ask("a"), ask("b")])
    pool.add_completions([answer("a")])
    spent = pool.spent()
    assert blank_all(pool, Text.COMPLETIONS, before=6000.0) == 1
    assert blank_all(pool, Text.PROMPTS, before=6000.0) == 1
    completion, answered = pool.completion("a"), pool.request("a")
    assert completion is not None
    assert completion.text == ""
    assert answered is not None
    assert [one.content for one in answered.messages] == [""]
    assert pool.waiting_requests() == [ask("b")]
    assert pool.spent() == spent
    assert check(pool) == []
    assert bytes_of(pool, Text.PROMPTS, before=6000.0) == []


def test_more_than_a_page_is_found_page_by_page(pool: Pool, decide: Decide) -> None:
    pool.commit([decide(f"row {number}", accepted=False) for number in range(1203)])
    pages = [len(page) for page in pool.old_texts(Text.REFUSED_ROWS, BEFORE)]
    assert sum(pages) == 1203
    assert len(pages) > 1
    assert blank_all(pool, Text.REFUSED_ROWS) == 1203


def test_old_rows_tell_nothing_of_what_is_written_lately(pool: Pool, decide: Decide) -> None:
    pool.commit([decide("old", accepted=False)])
    blank_all(pool, Text.REFUSED_ROWS)
    pool.commit([decide("new", accepted=False)])
    assert [one.subject.instruction for one in pool.latest(10)] == ["new"]


def test_a_check_names_an_accepted_row_without_text(tmp_path: Path, decide: Decide) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        pool.commit([decide("one")])
    with closing(sqlite3.connect(tmp_path / "pool.sqlite3")) as connection, connection:
        connection.execute("UPDATE candidates SET instruction = '', output = ''")
    with Pool.open(tmp_path, PoolConfig(), read_only=True) as pool:
        assert check(pool) == [f"candidate {decide('one').subject.id} is accepted and has no text"]
