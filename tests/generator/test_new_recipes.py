"""Chain of thought, evolve, refusals with look-alikes, unanswerable questions, and answers to what the user brings."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from seedbed.core.config import GenerationConfig
from seedbed.core.recipe_config import AnswerConfig
from seedbed.core.records import Candidate, Request
from seedbed.generator.answering import is_non_answer
from seedbed.generator.chain_of_thought import AGREEMENT, ARITHMETIC, read_solution, same_answer
from seedbed.generator.evolve import WAYS, elimination
from seedbed.generator.guarded import look_alike_fault, refusal_fault, unanswerable_fault
from seedbed.generator.parse import Task, Triple
from seedbed.generator.recipe import Assignment, Brought, Demonstration
from seedbed.generator.recipes import RECIPES
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks
from tests.generator.parts import Workbench, make_plan, triples
from tests.generator.test_recipes import carry_out

pytestmark = pytest.mark.anyio

SOLVED = "There are 5 - 2 = 3 trips of 24 cars.\nThe answer is 72."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def assignment(recipe: str, *, use_json_schema: bool = True) -> Assignment:
    own = {"categories": ("writing",)}
    settings = GenerationConfig.model_validate(
        {"recipes": {"alpaca": 1.0}, "chain_of_thought": own, "refusal": own, "unanswerable": own}
    )
    plan = make_plan(settings, use_json_schema=use_json_schema)
    return replace(plan.next(), recipe=recipe, requested_category="writing")


async def rows_of(
    recipe: str, answer: Callable[[Request], str], work: Assignment | None = None
) -> tuple[list[Candidate], Workbench]:
    bench = Workbench(answer)
    return await carry_out(RECIPES[recipe], work or assignment(recipe), bench), bench


def reasons(bench: Workbench) -> list[str]:
    return [reason for _, reason, _ in bench.unreadable]


async def test_a_solution_ends_in_its_answer_and_sums_that_were_recomputed_spare_a_second_one() -> None:
    problems = json.dumps({"instruction_1": {"topic": "ferries", "instruction": "How many cars go on the ferry?"}})
    rows, bench = await rows_of("chain_of_thought", lambda one: problems if "problems" in one.purpose else SOLVED)
    assert [row.output for row in rows] == [SOLVED]
    assert [one.purpose for one in bench.requests.values()] == ["chain_of_thought.problems", "chain_of_thought.solve"]
    assert rows[0].lineage.request_ids == tuple(bench.requests)
    assert rows[0].grades == {ARITHMETIC: 1.0}


async def test_a_solution_with_a_wrong_sum_is_marked_so() -> None:
    wrong = SOLVED.replace("= 3 trips", "= 4 trips")
    (row,), _ = await rows_of(
        "chain_of_thought", lambda one: '["How many cars?"]' if "problems" in one.purpose else wrong
    )
    assert row.grades == {ARITHMETIC: 0.0}


@pytest.mark.parametrize(("second", "grade"), [("Anna is the oldest one", 1.0), ("Bert", 0.0)])
async def test_where_nothing_can_be_recomputed_two_samples_are_compared(second: str, grade: float) -> None:
    said = iter(["Anna", second])

    def answer(one: Request) -> str:
        if "problems" in one.purpose:
            return '["Who of the three siblings is oldest?"]'
        return f"Anna is older than Bert, and Bert older than Cem.\nThe answer is {next(said)}."

    (row,), bench = await rows_of("chain_of_thought", answer)
    temperatures = [one.sampling.temperature for one in bench.requests.values() if "solve" in one.purpose]
    assert temperatures == [0.7, 0.3]
    assert row.grades == {AGREEMENT: grade}
    assert set(row.lineage.request_ids) == set(bench.requests)


@pytest.mark.parametrize(
    ("text", "reason"), [("Three trips go on Sundays.", "no_final_answer"), ("The answer is 72.", "no_rationale")]
)
async def test_a_solution_without_answer_or_rationale_is_noted(text: str, reason: str) -> None:
    problems = '["How many cars go on the ferry?"]'
    rows, bench = await rows_of("chain_of_thought", lambda one: problems if "problems" in one.purpose else text)
    assert rows == []
    assert reasons(bench) == [reason]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("The answer is 72.", "72"),
        ("**The answer is: 3.5 km.**", "3.5 km"),
        ("Therefore, the final answer is $\\boxed{12}$", "12"),
        ('So the answer is "Anna".', "Anna"),
        ("Take 2 from 5. The answer is 3.", "3"),
        ("The sum is 4.5 and not 4. So the answer is 4.5.", "4.5"),
    ],
)
def test_the_last_line_gives_the_answer(line: str, answer: str) -> None:
    solution = read_solution(f"Some steps.\n\n{line}\n")
    assert solution
    assert solution.answer == answer


def test_an_answer_within_a_sentence_is_no_last_line() -> None:
    assert read_solution("Some steps.\nWe do not know whether the answer is 3.") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("72", "72 cars", True),
        ("1,200", "1200.0 euros", True),
        ("72", "71", False),
        ("Anna", "anna", True),
        ("Anna", "the girl", False),
        ("7", "seven", False),
        ("", "", False),
    ],
)
def test_answers_are_compared_by_number_or_words(one: str, other: str, same: bool) -> None:
    assert same_answer(one, other) is same


EVOLVED = json.dumps({"instruction": "Do the same for a lighthouse keeper in winter.", "input": ""})


async def test_evolve_makes_a_deeper_row_of_one_row_and_answers_it() -> None:
    work = assignment("evolve")
    work = replace(work, demonstrations=(replace(work.demonstrations[0], depth=2),))
    rows, bench = await rows_of("evolve", lambda one: EVOLVED if one.purpose == "evolve" else "It is done.", work)
    assert [(row.instruction, row.output) for row in rows] == [
        ("Do the same for a lighthouse keeper in winter.", "It is done.")
    ]
    assert rows[0].lineage.depth == 3
    assert rows[0].lineage.request_ids == tuple(bench.requests)
    assert [one.purpose for one in bench.requests.values()] == ["evolve", "evolve.answer"]


async def test_each_way_of_evolving_asks_differently_and_all_are_drawn() -> None:
    texts = {assignment("evolve").request("evolve", demonstrations=(), way=way).messages[0].content for way in WAYS}
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("Name a bird, in full.", "no_gain"),
        ("Rewrite the given prompt about penguins and kelp.", "copied_prompt"),
        ("Ask about the matter in more depth, with penguins.", "copied_prompt"),
        ("Name a bird that lives among penguins and explain why.", ""),
    ],
)
def test_what_gains_nothing_or_copies_the_prompt_is_eliminated(instruction: str, reason: str) -> None:
    parent = Demonstration("seed", "Name a bird in full.", "", "A wren.")
    wording = assignment("evolve").prompts.get("generation/evolve").source
    assert elimination(Task(instruction, ""), parent, wording) == reason


@pytest.mark.parametrize(
    ("text", "is_none"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("The, a. - is it", True),
        ("", True),
        ("Yes.", False),
        ("A wren.", False),
    ],
)
def test_what_says_nothing_is_no_answer(text: str, is_none: bool) -> None:
    assert is_non_answer(text) is is_none


async def test_an_evolved_row_without_an_answer_is_noted() -> None:
    sorry = "I'm sorry, but I can't help with that."
    rows, bench = await rows_of("evolve", lambda one: EVOLVED if one.purpose == "evolve" else sorry)
    assert rows == []
    assert reasons(bench) == ["non_answer"]


REFUSES = "I can't help with that, since it would hurt her. If you two fell out, I can help you write to her."


async def test_a_refusal_is_kept_only_where_it_refuses_briefly_and_offers_something() -> None:
    answer = triples(
        ("Help me frighten her.", "", REFUSES),
        ("Help me trick him.", "", "First, find out where he lives."),
        ("Help me rob it.", "", "I can't help with that."),
        ("Help me spy.", "", REFUSES + " Really" * 90),
    )
    rows, bench = await rows_of("refusal", lambda _: answer)
    assert [row.output for row in rows] == [REFUSES]
    assert rows[0].lineage.recipe == "refusal"
    assert reasons(bench) == ["does_not_refuse", "no_alternative", "long_refusal"]


async def test_a_look_alike_that_is_refused_is_dropped() -> None:
    answer = triples(
        ("How do I kill a process?", "", "Run kill with its number."), ("How do I beat eggs?", "", REFUSES)
    )
    rows, bench = await rows_of("look_alike", lambda _: answer)
    assert [row.instruction for row in rows] == ["How do I kill a process?"]
    assert reasons(bench) == ["over_refusal"]


async def test_an_unanswerable_question_needs_an_answer_that_admits_it_and_asks() -> None:
    good = "I can't tell without the timetable. Could you send it to me?"
    answer = triples(
        ("When does it leave?", "", good), ("When did it leave?", "", "At 9:15."), ("Who?", "", "That is unknown.")
    )
    rows, bench = await rows_of("unanswerable", lambda _: answer)
    assert [row.output for row in rows] == [good]
    assert reasons(bench) == ["does_not_admit", "asks_for_nothing"]


def test_the_rules_agree_with_what_people_wrote() -> None:
    seeds = load_seed_tasks(PACKAGED_TASKS, load_categories(PACKAGED_CATEGORIES))
    rows = {
        name: [Triple(one.instruction, one.input, one.output) for one in seeds if one.category == name]
        for name in ("safety", "unanswerable", "open_qa")
    }
    assert [row for row in rows["unanswerable"] if unanswerable_fault(row)] == []
    refused = [row for row in rows["safety"] if look_alike_fault(row)]
    assert len(refused) >= 5
    assert [row for row in refused if refusal_fault(row, 80)] == []
    assert sum(unanswerable_fault(row) == "" for row in rows["open_qa"]) == 0


async def test_what_the_user_brings_is_asked_as_it_stands() -> None:
    work = replace(assignment("answer"), brought=Brought("Name the bird.", "It sings at night."), demonstrations=())
    rows, bench = await rows_of("answer", lambda _: "A nightingale.", work)
    assert [one.messages[0].content for one in bench.requests.values()] == ["Name the bird.\n\nIt sings at night."]
    assert [(row.instruction, row.input, row.output) for row in rows] == [
        ("Name the bird.", "It sings at night.", "A nightingale.")
    ]
    assert rows[0].lineage.depth == 1


def best_of(count: int) -> Assignment:
    work = assignment("answer")
    settings = work.settings.model_copy(update={"answer": AnswerConfig(best_of=count, best_of_temperature=0.9)})
    return replace(work, settings=settings, brought=Brought("Name the bird."), demonstrations=())


async def test_of_several_answers_the_one_that_agrees_most_is_kept_and_all_are_paid_for() -> None:
    answers = iter(["A whale.", "The bird is a nightingale.", "A nightingale sings."])
    rows, bench = await rows_of("answer", lambda _: next(answers), best_of(3))
    assert [row.output for row in rows] == ["A nightingale sings."]
    # words shared with each of the others: 2 x 2 of 3 + 5, and 2 x 1 of 3 + 2
    assert rows[0].grades == {"best_of.agreement": pytest.approx((4 / 8 + 2 / 5) / 2)}
    assert [one.sampling.temperature for one in bench.requests.values()] == [0.9, 0.9, 0.9]
    assert sorted(rows[0].lineage.request_ids) == sorted(bench.requests)
    assert bench.requests[rows[0].lineage.request_ids[-1]].purpose == "answer"


async def test_what_is_no_answer_is_not_chosen_among_several() -> None:
    answers = iter(["I'm sorry, I cannot help with that.", "A nightingale.", "I'm sorry, I cannot help with that."])
    rows, bench = await rows_of("answer", lambda _: next(answers), best_of(3))
    assert [(row.output, row.grades) for row in rows] == [("A nightingale.", {})]
    assert reasons(bench) == ["non_answer", "non_answer"]


async def test_an_instruction_that_is_not_novel_is_not_paid_for() -> None:
    work = replace(assignment("answer"), brought=Brought("Name the stale bird."))
    rows, bench = await rows_of("answer", lambda _: "A nightingale.", work)
    assert (rows, bench.requests) == ([], {})


@pytest.mark.parametrize("use_json_schema", [True, False])
@pytest.mark.parametrize("recipe", ["refusal", "look_alike", "unanswerable", "evolve", "chain_of_thought"])
async def test_a_request_shows_its_demonstrations_with_and_without_a_schema(recipe: str, use_json_schema: bool) -> None:
    work = assignment(recipe, use_json_schema=use_json_schema)
    _, bench = await rows_of(recipe, lambda _: "", work)
    first = next(iter(bench.requests.values()))
    assert work.demonstrations[0].instruction in first.messages[0].content
    assert (first.sampling.json_schema is not None) is use_json_schema
