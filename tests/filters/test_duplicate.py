"""Exact duplicates, and one input with two outputs."""

from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.records import Candidate, Lineage
from seedbed.filters.duplicate import DuplicateFilter, contradicted

SENTIMENT = "Say whether the review is positive or negative."


def row(
    instruction: str = SENTIMENT, input: str = "", output: str = "positive", task: str = "", request: str = ""
) -> Candidate:
    lineage = Lineage(recipe="self_instruct", request_ids=(request,) if request else ())
    return Candidate.of(instruction, input, output, lineage=lineage, task_id=task)


def remembering(*candidates: Candidate) -> DuplicateFilter:
    memory = DuplicateFilter()
    for candidate in candidates:
        memory.add(candidate)
    return memory


def test_the_same_triple_is_refused_and_names_its_twin() -> None:
    first = row(input="Lovely food.")
    found = remembering(first).check(row(input="Lovely food."))
    assert (found.accepted, found.reason, found.neighbour_id) == (False, "exact_duplicate", first.id)


def test_case_width_and_blanks_do_not_make_a_row_new() -> None:
    memory = remembering(row(input="Lovely food."))
    assert memory.check(row(input="LOVELY  ｆｏｏｄ.\r\n")).reason == "exact_duplicate"


def test_a_later_second_output_for_one_input_is_refused() -> None:
    first = row(input="Lovely food.")
    found = remembering(first).check(row(input="Lovely food.", output="negative"))
    assert (found.reason, found.neighbour_id) == ("second_output_for_one_input", first.id)


def test_a_task_without_input_may_have_several_outputs() -> None:
    poem = "Write a poem about a river."
    assert remembering(row(poem, output="Blue and slow.")).check(row(poem, output="Wide and deep.")).accepted


def test_all_instances_of_one_completion_go_when_it_contradicts_itself() -> None:
    instances = [
        row(input="Lovely food.", task="t", request="r"),
        row(input="Lovely food.", output="negative", task="t", request="r"),
        row(input="Cold soup.", output="negative", task="t", request="r"),
    ]
    memory = DuplicateFilter()
    memory.see_batch(instances)
    found = [memory.check(one) for one in instances]
    assert [one.reason for one in found] == ["two_outputs_in_one_completion"] * 3
    assert found[0].neighbour_id == instances[1].id
    assert found[0].evidence == ("negative",)


def test_two_completions_do_not_make_each_other_go() -> None:
    assert not contradicted(
        [
            row(input="Lovely food.", task="t", request="r1"),
            row(input="Lovely food.", output="negative", task="t", request="r2"),
        ]
    )


def test_the_same_output_in_other_letters_is_no_contradiction() -> None:
    assert not contradicted(
        [row(input="Fine.", task="t", request="r"), row(input="Fine.", output="Positive", task="t", request="r")]
    )


def test_what_is_undone_or_removed_is_forgotten() -> None:
    kept, undone = row(input="kept"), row(input="undone")
    memory = remembering(kept)
    memory.confirm()
    memory.add(undone)
    memory.undo()
    assert memory.check(undone).accepted
    assert not memory.check(kept).accepted
    memory.remove(kept.id)
    memory.remove("nobody")
    assert memory.check(kept).accepted


@given(st.lists(st.tuples(st.sampled_from("abcAB "), st.sampled_from("xyX ")), max_size=30))
def test_no_triple_and_no_question_is_accepted_twice(pairs: list[tuple[str, str]]) -> None:
    memory = DuplicateFilter()
    answers: dict[str, str] = {}
    for question, answer in pairs:
        candidate = row(input=question, output=answer)
        is_expected = not question.strip() or question.strip().lower() not in answers
        if question.strip():
            assert memory.check(candidate).accepted is is_expected
        if memory.check(candidate).accepted:
            memory.add(candidate)
            answers.setdefault(question.strip().lower(), answer)
        assert not memory.check(candidate).accepted
