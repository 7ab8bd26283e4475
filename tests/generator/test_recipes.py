"""What the recipes ask for, and what they make of answers."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import EndpointTimeoutError
from seedbed.core.records import Candidate, Completion, FinishReason, Request
from seedbed.generator.alpaca import alpaca
from seedbed.generator.parse import Instance
from seedbed.generator.recipe import Assignment, Recipe
from seedbed.generator.self_instruct import has_conflict, self_instruct
from tests.generator.parts import Workbench, completion, make_plan, triples

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def assignment(recipe: str, category: str = "", *, use_json_schema: bool = True, **settings: int) -> Assignment:
    plan = make_plan(GenerationConfig(recipes={recipe: 1.0}, **settings), use_json_schema=use_json_schema)
    return next(one for _ in range(100) if (one := plan.next()).requested_category == (category or "writing"))


async def carry_out(recipe: Recipe, work: Assignment, bench: Workbench) -> list[Candidate]:
    emitted: list[Candidate] = []

    async def ask(request: Request) -> Completion:
        await bench.asked(request)
        return await bench.ask(request)

    async def emit(candidates: Sequence[Candidate]) -> None:
        emitted.extend(candidates)

    await recipe(ask, bench.screen, work, emit, bench.note_unreadable)
    return emitted


async def test_alpaca_makes_each_triple_of_an_answer_a_candidate_with_its_lineage() -> None:
    work = assignment("alpaca")
    bench = Workbench(lambda _: triples(("Name a bird.", "", "A wren."), ("Find a rhyme.", "cat", "hat")))
    one, other = await carry_out(alpaca, work, bench)
    (request,) = bench.requests.values()
    assert (one.instruction, one.input, one.output) == ("Name a bird.", "", "A wren.")
    assert (other.instruction, other.input, other.output) == ("Find a rhyme.", "cat", "hat")
    assert one.requested_category == "writing"
    assert one.lineage.request_ids == (request.id,)
    assert one.lineage.demonstration_ids == tuple(shown.id for shown in work.demonstrations)
    assert one.lineage.depth == 1
    assert one.lineage.prompt_sha256 == request.prompt_sha256 != ""


async def test_an_alpaca_request_shows_its_demonstrations_in_the_form_of_the_answer() -> None:
    work = assignment("alpaca")
    bench = Workbench(lambda _: "")
    await carry_out(alpaca, work, bench)
    (request,) = bench.requests.values()
    text = request.messages[0].content
    example = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    schema = request.sampling.json_schema
    assert schema
    assert list(example) == list(schema["properties"]) == ["task_1", "task_2", "task_3"]
    assert list(example["task_1"]) == list(schema["properties"]["task_1"]["properties"])
    assert [task["instruction"] for task in example.values()] == [shown.instruction for shown in work.demonstrations]
    assert all(topic in text for topic in work.topics)
    assert request.demonstration_ids == tuple(shown.id for shown in work.demonstrations)


async def test_without_a_schema_the_same_is_asked_for_as_text() -> None:
    bench = Workbench(lambda _: "Instruction: Name a bird.\nInput: <noinput>\nOutput: A wren.")
    (row,) = await carry_out(alpaca, assignment("alpaca", use_json_schema=False), bench)
    (request,) = bench.requests.values()
    assert request.sampling.json_schema is None
    assert "Input: <noinput>" in request.messages[0].content
    assert (row.instruction, row.input, row.output) == ("Name a bird.", "", "A wren.")


async def test_a_server_that_ignores_the_schema_is_understood_all_the_same() -> None:
    bench = Workbench(lambda _: "### Task 1\nInstruction: Name a bird.\nOutput: A wren.")
    (row,) = await carry_out(alpaca, assignment("alpaca"), bench)
    assert row.output == "A wren."


def answers(**by_step: str) -> Workbench:
    return Workbench(lambda request: by_step[request.purpose.rsplit(".", 1)[-1]])


async def test_self_instruct_works_out_what_is_novel_and_keeps_the_whole_path_in_the_lineage() -> None:
    bench = answers(
        propose='{"instructions": ["Name any bird.", "Do the stale thing."]}',
        classify="No.",
        instances='{"instances": [{"input": "", "output": "A wren."}]}',
    )
    (row,) = await carry_out(self_instruct, assignment("self_instruct", "mixed"), bench)
    purposes = [request.purpose for request in bench.requests.values()]
    assert purposes == ["self_instruct.propose", "self_instruct.classify", "self_instruct.instances"]
    assert row.instruction == "Name any bird."
    assert row.lineage.request_ids == tuple(bench.requests)
    classify = bench.requests[row.lineage.request_ids[1]]
    assert classify.sampling.temperature == 0


async def test_the_kind_is_not_asked_for_where_all_seeds_of_a_category_agree() -> None:
    bench = answers(propose='["Sort the fruit by taste."]', instances='{"output": "sweet", "input": "a plum"}')
    (row,) = await carry_out(self_instruct, assignment("self_instruct", "sorting"), bench)
    assert [request.purpose for request in bench.requests.values()] == [
        "self_instruct.propose",
        "self_instruct.instances",
    ]
    assert (row.input, row.output) == ("a plum", "sweet")


async def test_classification_is_written_output_first_and_the_rest_input_first() -> None:
    orders = {}
    for category in ("sorting", "writing"):
        bench = answers(propose='["Do a new thing here."]', instances="")
        await carry_out(self_instruct, assignment("self_instruct", category), bench)
        request = [*bench.requests.values()][-1]
        assert request.sampling.json_schema
        orders[category] = list(request.sampling.json_schema["properties"]["instances"]["items"]["properties"])
        assert json.dumps(dict.fromkeys(orders[category], "x"))[2:8] in request.messages[0].content
    assert orders == {"sorting": ["output", "input"], "writing": ["input", "output"]}


async def test_a_label_is_drawn_from_those_that_the_instruction_lists() -> None:
    drawn = set()
    for number in range(20):
        bench = answers(propose='["Label it as \\"ripe\\" or \\"raw\\"."]', instances="")
        work = replace(assignment("self_instruct", "sorting"), seed=str(number))
        await carry_out(self_instruct, work, bench)
        request = [*bench.requests.values()][-1]
        assert request.sampling.json_schema
        (label,) = request.sampling.json_schema["properties"]["instances"]["items"]["properties"]["output"]["enum"]
        assert f'The output is "{label}".' in request.messages[0].content
        drawn.add(label)
    assert drawn == {"ripe", "raw"}


async def test_two_outputs_for_one_input_cost_all_instances_of_the_task() -> None:
    bench = answers(
        propose='["Do a new thing here."]',
        instances='{"instances": [{"input": "a", "output": "1"}, {"input": "b", "output": "2"}, '
        '{"input": "a", "output": "3"}]}',
    )
    assert await carry_out(self_instruct, assignment("self_instruct", instances_per_task=5), bench) == []
    assert [(purpose, reason) for purpose, reason, _ in bench.unreadable] == [
        ("self_instruct.instances", "one_input_two_outputs")
    ]


@pytest.mark.parametrize(
    ("pairs", "conflict"),
    [
        ([("a", "1"), ("a", "1")], False),
        ([("", "1"), ("", "2")], False),
        ([("a", "1"), ("b", "2")], False),
        ([("a", "1"), ("b", "2"), ("a", "2")], True),
    ],
)
def test_only_a_non_empty_input_with_different_outputs_is_a_conflict(
    pairs: list[tuple[str, str]], conflict: bool
) -> None:
    assert has_conflict([Instance(*pair) for pair in pairs]) is conflict


async def test_no_more_instances_are_kept_than_wanted_and_they_share_a_task() -> None:
    bench = answers(
        propose='["Do a new thing here."]',
        instances='[{"input": "a", "output": "1"}, {"input": "b", "output": "2"}, {"input": "c", "output": "3"}]',
    )
    rows = await carry_out(self_instruct, assignment("self_instruct", instances_per_task=2), bench)
    assert [row.output for row in rows] == ["1", "2"]
    assert len({row.task_id for row in rows}) == 1
    assert rows[0].task_id != rows[0].id


async def test_one_failed_instance_does_not_cost_its_siblings() -> None:
    def answer(request: Request) -> str:
        if request.purpose.endswith("propose"):
            return '["Do the first thing.", "Do the second thing."]'
        if "first" in request.messages[0].content:
            raise EndpointTimeoutError("nothing within 900 s")
        return "Output: Done."

    (row,) = await carry_out(self_instruct, assignment("self_instruct"), Workbench(answer))
    assert row.instruction == "Do the second thing."


async def test_what_was_cut_is_noted_and_what_precedes_it_kept() -> None:
    bench = Workbench(lambda _: "")

    async def ask(request: Request) -> Completion:
        return completion(request, triples(("Name a bird.", "", "A wren."))[:-2] + ', {"instr', FinishReason.LENGTH)

    emitted: list[Candidate] = []

    async def emit(candidates: Sequence[Candidate]) -> None:
        emitted.extend(candidates)

    await alpaca(ask, bench.screen, assignment("alpaca"), emit, bench.note_unreadable)
    assert [row.output for row in emitted] == ["A wren."]
    assert [(purpose, reason) for purpose, reason, _ in bench.unreadable] == [("alpaca", "cut")]


async def test_a_demonstration_that_looks_like_a_template_is_shown_as_it_is() -> None:
    work = assignment("alpaca", use_json_schema=False)
    shown = type(work.demonstrations[0])("x", "Explain {{ this }} and {% that %}.", "", "It's <b>&</b>.")
    text = work.request("alpaca", demonstrations=[shown], topics=["birds"]).messages[0].content
    assert "Explain {{ this }} and {% that %}." in text
    assert "It's <b>&</b>." in text
