import itertools
import json

import anyio
import pytest
from rouge_score.rouge_scorer import RougeScorer

from seedbed.core.errors import EndpointRejectedError, EndpointResponseError
from seedbed.endpoints.scripted import ScriptedEndpoint, plausible_answers, scripted_fleet
from tests.endpoints.parts import make_request

TEXT = {"type": "string"}
TRIPLE = {"type": "object", "properties": {"instruction": TEXT, "input": TEXT, "output": TEXT}}
TRIPLES = {
    "type": "object",
    "properties": {"tasks": {"type": "array", "items": TRIPLE, "minItems": 3, "maxItems": 3}},
}


def instructions(count: int, seed: int = 0) -> list[str]:
    answer, found = plausible_answers(seed), list[str]()
    for number in itertools.count():  # the id decides the answer, and other tests make requests too
        if len(found) >= count:
            break
        text = answer(make_request(json_schema=TRIPLES).model_copy(update={"id": f"own-{number}"}))
        assert isinstance(text, str)
        found += [task["instruction"] for task in json.loads(text)["tasks"]]
    return found[:count]


def test_its_instructions_are_mutually_novel() -> None:
    scorer = RougeScorer(["rougeL"])
    pairs = itertools.combinations(instructions(120), 2)
    assert max(scorer.score(one, two)["rougeL"].fmeasure for one, two in pairs) <= 0.7


def test_the_same_seed_answers_the_same_request_alike() -> None:
    request = make_request(json_schema=TRIPLES)
    assert plausible_answers(1)(request) == plausible_answers(1)(request)
    assert plausible_answers(1)(request) != plausible_answers(2)(request)


def test_it_fills_schemas_of_every_plain_kind() -> None:
    schema = {
        "type": "object",
        "properties": {
            "topic": {"enum": ["tea", "rain"]},
            "count": {"type": "integer", "minimum": 3, "maximum": 5},
            "is_good": {"type": "boolean"},
            "nothing": {"type": "null"},
            "kind": {"const": "a"},
            "either": {"anyOf": [{"type": "null"}, {"const": "b"}]},
            "inner": {"$ref": "#/$defs/inner"},
        },
        "$defs": {"inner": {"type": "object", "properties": {"instructions": {"type": "array", "items": TEXT}}}},
    }
    text = plausible_answers()(make_request(json_schema=schema))
    assert isinstance(text, str)
    value = json.loads(text)
    assert value["topic"] in {"tea", "rain"}
    assert 3 <= value["count"] <= 5
    assert (type(value["is_good"]), value["nothing"], value["kind"]) == (bool, None, "a")
    assert value["either"] in {None, "b"}
    assert all(value["inner"]["instructions"])


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("Now write 8 new instructions of this kind, numbered from 1.", "8. "),
        ("### Task 1\nInstruction: a\n\nNow write 3 new tasks", "### Task 3"),
        ("Instruction: a\nInput: b\nOutput: c\n\nInstruction: d", "Output: "),
    ],
)
def test_without_a_schema_it_writes_what_the_prompt_shows(prompt: str, mark: str) -> None:
    text = plausible_answers()(make_request(prompt))
    assert isinstance(text, str)
    assert mark in text


def test_a_function_answers_or_fails_as_it_likes() -> None:
    async def main() -> None:
        completion = await ScriptedEndpoint(lambda request: request.messages[0].content).complete(make_request("echo"))
        assert completion.text == "echo"
        with pytest.raises(EndpointResponseError, match="broken"):
            await ScriptedEndpoint(lambda _: EndpointResponseError("broken")).complete(make_request())

    anyio.run(main)


def test_a_scripted_fleet_has_the_real_retries() -> None:
    async def main() -> None:
        left = [EndpointResponseError("broken")]
        async with scripted_fleet(lambda _: left.pop() if left else "fine") as fleet:
            assert (await fleet.ask(make_request())).text == "fine"
            assert (await fleet.capabilities()).json_schema
        async with scripted_fleet(lambda _: EndpointRejectedError("no", 400), has_json_schema=False) as fleet:
            assert not (await fleet.capabilities()).json_schema
            with pytest.raises(EndpointRejectedError):
                await fleet.ask(make_request())

    anyio.run(main)
