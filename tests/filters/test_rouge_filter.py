"""The rouge filter: tasks by instruction, instances of a task by input."""

from seedbed.core.filter_config import RougeConfig
from seedbed.core.records import Candidate, Lineage, Proposal
from seedbed.filters.protocol import as_candidate
from seedbed.filters.rouge_filter import RougeFilter

LINEAGE = Lineage(recipe="test")


def row(instruction: str, input: str = "", output: str = "An answer.", task_id: str = "") -> Candidate:
    return Candidate.of(instruction, input, output, lineage=LINEAGE, task_id=task_id)


def proposal(instruction: str, id: str = "p1") -> Candidate:
    return as_candidate(Proposal(id=id, instruction=instruction, lineage=LINEAGE))


def holding(*rows: Candidate) -> RougeFilter:
    rouge = RougeFilter()
    rouge.load(rows)
    return rouge


def test_a_near_duplicate_names_its_neighbour_score_and_shared_words() -> None:
    first = row("Name three kinds of fish that live in rivers")
    verdict = holding(first).check(row("Name four kinds of fish that live in rivers"))
    # 8 of 9 words in order: F = 2 * 8 / 18
    assert not verdict.accepted
    assert verdict.reason == "near_duplicate"
    assert verdict.neighbour_id == first.id
    assert verdict.score is not None
    assert abs(verdict.score - 8 / 9) < 1e-12
    assert verdict.threshold == 0.7
    assert verdict.evidence == ("name", "kinds", "of", "fish", "that", "live", "in", "rivers")


def test_an_accepted_row_carries_the_nearest_it_came() -> None:
    first = row("one two three four five six")
    verdict = holding(first).check(row("one two three four other words"))
    assert verdict.accepted
    assert verdict.neighbour_id == first.id
    assert verdict.score is not None
    assert abs(verdict.score - 4 / 6) < 1e-12


def test_a_row_like_nothing_is_accepted_without_a_score() -> None:
    verdict = holding(row("Add these two numbers")).check(row("Write a poem about winter"))
    assert verdict.accepted
    assert verdict.score is None
    assert verdict.neighbour_id is None


def test_the_operator_decides_what_happens_at_the_threshold() -> None:
    # 1 of 2 words: F = 0.5 exactly
    first, second = row("alpha beta"), row("alpha gamma")
    verdicts = []
    for operator in (">", ">="):
        rouge = RougeFilter(RougeConfig(threshold=0.5, operator=operator))
        rouge.load([first])
        verdicts.append(rouge.check(second).accepted)
    assert verdicts == [True, False]


def test_instances_of_one_task_are_not_compared_by_their_instruction() -> None:
    rouge = holding(row("Classify the review", "I loved this film", task_id="t"))
    assert rouge.check(row("Classify the review", "Terrible service and cold food", task_id="t")).accepted
    assert not rouge.check(row("Classify the review", "Terrible service and cold food", task_id="u")).accepted


def test_instances_of_one_task_are_compared_by_their_inputs() -> None:
    first = row("Classify the review", "I really loved this film", task_id="t")
    verdict = holding(first).check(row("Classify the review", "I really loved this movie", task_id="t"))
    assert verdict.reason == "near_duplicate_input"
    assert verdict.neighbour_id == first.id
    assert verdict.score is not None
    assert abs(verdict.score - 0.8) < 1e-12
    assert verdict.evidence == ("i", "really", "loved", "this")


def test_two_instances_without_input_are_compared_by_their_instruction() -> None:
    rouge = holding(row("Tell a joke about cats", task_id="t"))
    verdict = rouge.check(row("Tell a joke about cats", output="Another answer.", task_id="t"))
    assert verdict.reason == "near_duplicate_input"
    assert rouge.check(row("List the planets by size", task_id="t")).accepted


def test_inputs_of_different_tasks_may_be_equal() -> None:
    rouge = holding(row("Classify the review", "I really loved this film", task_id="t"))
    assert rouge.check(row("Translate into French", "I really loved this film", task_id="u")).accepted


def test_a_candidate_is_not_refused_for_its_own_proposal() -> None:
    rouge = holding(proposal("Describe how bees make honey"))
    assert rouge.check(row("Describe how bees make honey", task_id="p1")).accepted
    other = rouge.check(row("Describe how bees make honey", task_id="p2"))
    assert not other.accepted
    assert other.neighbour_id == "p1"


def test_a_released_proposal_refuses_nobody() -> None:
    rouge = holding(proposal("Describe how bees make honey"))
    rouge.remove("p1")
    assert rouge.check(row("Describe how bees make honey")).accepted


def test_a_proposal_with_a_row_is_not_released() -> None:
    rouge = holding(proposal("Describe how bees make honey"), row("Describe how bees make honey", task_id="p1"))
    rouge.remove("p1")
    assert not rouge.check(row("Describe how bees make honey")).accepted


def test_undo_takes_back_rows_and_proposals_since_the_last_confirm() -> None:
    rouge = RougeFilter()
    rouge.add(row("Describe how bees make honey"))
    rouge.confirm()
    rouge.add(row("Name the largest city of Japan", "in Asia please", task_id="t"))
    assert not rouge.check(row("Name the largest city of Japan")).accepted
    rouge.undo()
    assert rouge.check(row("Name the largest city of Japan")).accepted
    assert rouge.check(row("Name the largest city of Japan", "in Asia please", task_id="t")).accepted
    assert not rouge.check(row("Describe how bees make honey", output="Other.")).accepted


def test_an_instruction_is_kept_while_one_row_of_its_task_is_in() -> None:
    first = row("Classify the review", "I loved this film", task_id="t")
    second = row("Classify the review", "Terrible service and cold food", task_id="t")
    rouge = holding(first, second)
    rouge.remove(first.id)
    verdict = rouge.check(row("Classify the review"))
    assert verdict.neighbour_id == second.id
    assert rouge.check(row("Classify the review", "Something else altogether happened", task_id="t")).accepted
    rouge.remove(second.id)
    assert rouge.check(row("Classify the review")).accepted


def test_removing_the_last_row_of_a_proposal_removes_the_proposal() -> None:
    instance = row("Describe how bees make honey", task_id="p1")
    rouge = holding(proposal("Describe how bees make honey"), instance)
    rouge.remove(instance.id)
    assert rouge.check(row("Describe how bees make honey")).accepted


def test_removing_what_is_not_in_and_adding_twice_change_nothing() -> None:
    first = row("Describe how bees make honey")
    rouge = holding(first)
    rouge.remove("nobody")
    rouge.add(first)
    rouge.undo()
    assert not rouge.check(row("Describe how bees make honey", output="Other.")).accepted


def test_text_without_words_is_a_duplicate_of_nothing() -> None:
    first = row("?!")
    assert holding(first).check(row("?!", output="x")).accepted


def test_other_scripts_are_compared_by_default_and_not_with_the_tokenizer_of_rouge_score() -> None:
    first, second = row("Опиши, как пчёлы делают мёд"), row("Опиши, как пчёлы делают мёд сегодня")
    assert not holding(first).check(second).accepted
    rouge = RougeFilter(RougeConfig(tokenizer="rouge"))
    rouge.load([first])
    assert rouge.check(second).accepted
