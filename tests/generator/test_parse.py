"""Reading completions, written by hand and by real models (`completions.jsonl`)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.records import FinishReason
from seedbed.generator.chain_of_thought import read_solution
from seedbed.generator.parse import (
    Instance,
    Problem,
    Triple,
    Unreadable,
    parse_instances,
    parse_instructions,
    parse_tasks,
    parse_triples,
    parse_yes_no,
)

STOP, LENGTH = FinishReason.STOP, FinishReason.LENGTH
FLY = Triple("Name a bird.", "", "A wren.")
RHYME = Triple("Find a rhyme.", "cat", "hat")
BOTH_IN_JSON = json.dumps(
    {
        "tasks": [
            {"instruction": "Name a bird.", "input": "", "output": "A wren."},
            {"instruction": "Find a rhyme.", "input": "cat", "output": "hat"},
        ]
    }
)

BOTH_AS_TEXT = {
    "alpaca's numbered blocks": """###
1. Instruction: Name a bird.
1. Input:
<noinput>
1. Output:
A wren.
###
2. Instruction: Find a rhyme.
2. Input:
cat
2. Output:
hat
###
3.""",
    "headed blocks": """Sure! Here are two tasks:

### Task 1
Instruction: Name a bird.
Input: None
Output: A wren.

### Task 2
Instruction: Find a rhyme.
Input: cat
Output: hat""",
    "bold labels and rules": """**Task 1:**
**Instruction:** Name a bird.
**Input:** N/A
**Output:** A wren.

---

**Task 2:**
**Instruction:** Find a rhyme.
**Input:** cat
**Output:** hat

---""",
    "tasks named by number": """Task 1: Name a bird.
Input: (no input)
Output: A wren.
Task 2: Find a rhyme.
Input: cat
Output: hat<|im_end|>""",
    "headings for labels": """#### Instruction:
Name a bird.
#### Response:
A wren.
#### Instruction:
Find a rhyme.
#### Input:
cat
#### Response:
hat""",
    "other line ends": "Instruction: Name a bird.\r\nOutput: A wren.\r\n\r\n"
    "Instruction: Find a rhyme.\r\nInput: cat\r\nOutput: hat\r\n",
}


@pytest.mark.parametrize("text", BOTH_AS_TEXT.values(), ids=BOTH_AS_TEXT)
def test_triples_are_read_from_text(text: str) -> None:
    parsed = parse_triples(text, STOP)
    assert parsed.rows == (FLY, RHYME)
    assert {problem.reason for problem in parsed.problems} <= {Unreadable.NO_INSTRUCTION}


BOTH_AS_JSON = {
    "plain": BOTH_IN_JSON,
    "numbered keys": json.dumps({f"task_{n}": row for n, row in enumerate(json.loads(BOTH_IN_JSON)["tasks"], 1)}),
    "fenced": f"Here you are:\n```json\n{BOTH_IN_JSON}\n```\nAnything else?",
    "a bare list": BOTH_IN_JSON[len('{"tasks": ') : -1],
    "objects one a line": BOTH_IN_JSON[len('{"tasks": [') : -2].replace("}, {", "}\n{"),
    "commas too many": BOTH_IN_JSON.replace("}]}", "},]}").replace('wren."}', 'wren.",}'),
    "an escape too many": BOTH_IN_JSON.replace("Find a rhyme.", r"Find a rhyme\."),
    "after thinking": f"<think>Perhaps {{'a': 1}}?</think>{BOTH_IN_JSON}",
    "other keys": BOTH_IN_JSON.replace("instruction", "Task").replace("output", "Response"),
}


@pytest.mark.parametrize("text", BOTH_AS_JSON.values(), ids=BOTH_AS_JSON)
def test_triples_are_read_from_json(text: str) -> None:
    parsed = parse_triples(text, STOP)
    expected = Triple(r"Find a rhyme\.", "cat", "hat") if r"\." in text else RHYME
    assert parsed.rows == (FLY, expected)
    assert parsed.problems == ()


def test_json_that_was_cut_keeps_its_whole_rows_and_gives_up_the_last() -> None:
    parsed = parse_triples(BOTH_IN_JSON[:-6], LENGTH)
    assert parsed.rows == (FLY,)
    assert [problem.reason for problem in parsed.problems] == [Unreadable.CUT]
    assert parsed.problems[0].text.startswith('{"instruction": "Find a rhyme."')


def test_text_that_was_cut_gives_up_its_last_row_even_if_that_looks_whole() -> None:
    parsed = parse_triples(BOTH_AS_TEXT["headed blocks"], LENGTH)
    assert parsed.rows == (FLY,)
    assert [problem.reason for problem in parsed.problems] == [Unreadable.CUT]


def test_broken_json_in_the_middle_costs_only_its_row() -> None:
    text = BOTH_IN_JSON.replace('"Name a bird."', '"Name a "bird"."')
    parsed = parse_triples(text, STOP)
    assert parsed.rows == (RHYME,)
    assert [problem.reason for problem in parsed.problems] == [Unreadable.BROKEN_JSON]
    assert 'Name a "bird"' in parsed.problems[0].text


def test_values_that_are_no_strings_become_the_json_they_were() -> None:
    text = '{"instruction": "List them.", "input": null, "output": ["a", {"b": 1}]}'
    assert parse_triples(text, STOP).rows == (Triple("List them.", "", '["a", {"b": 1}]'),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Unreadable.EMPTY),
        ("  <think>hm</think>\n", Unreadable.EMPTY),
        ("I cannot help with that.", Unreadable.NOTHING_FOUND),
        ('{"instruction": "", "input": "x", "output": "y"}', Unreadable.NO_INSTRUCTION),
        ('{"instruction": "Do it.", "input": "x", "output": " "}', Unreadable.NO_OUTPUT),
        ("Instruction: Do it.\nInput: x", Unreadable.NO_OUTPUT),
        ("Instruction: Do it.\nInput: x\nOutput: y\nInput: z\nOutput: w", Unreadable.REPEATED_FIELD),
        ('{"instruction": "Do it.", "input": "x", "output": y', Unreadable.BROKEN_JSON),
    ],
)
def test_what_cannot_be_read_says_why(text: str, reason: Unreadable) -> None:
    parsed = parse_triples(text, STOP)
    assert parsed.rows == ()
    assert [problem.reason for problem in parsed.problems] == [reason]


def test_an_answer_may_hold_words_that_elsewhere_are_labels() -> None:
    text = "Instruction: Make a quiz.\nOutput: Question: 1+1?\nAnswer: 2\n## Notes\nNone."
    assert parse_triples(text, STOP).rows == (Triple("Make a quiz.", "", "Question: 1+1?\nAnswer: 2\n## Notes\nNone."),)


def test_json_in_an_output_is_a_part_of_it() -> None:
    text = 'Instruction: Answer as JSON.\nInput: 2+3\nOutput:\n{"answer": 5, "input": "2+3"}'
    assert parse_triples(text, STOP).rows == (Triple("Answer as JSON.", "2+3", '{"answer": 5, "input": "2+3"}'),)
    assert parse_instances(text.split("\n", 1)[1], STOP).rows == (Instance("2+3", '{"answer": 5, "input": "2+3"}'),)


def test_labels_in_a_json_output_are_a_part_of_it() -> None:
    text = '{"instruction": "Write a quiz.", "input": "", "output": "Input: a\\nOutput: b\nAnswer: c"}'
    assert parse_triples(text, STOP).rows == (Triple("Write a quiz.", "", "Input: a\nOutput: b\nAnswer: c"),)


def test_fenced_code_keeps_its_fences_and_a_fence_that_closes_nothing_goes() -> None:
    code = "```python\nprint(1)\n```"
    assert parse_triples(f"Instruction: Print one.\nOutput:\n{code}", STOP).rows == (Triple("Print one.", "", code),)
    assert parse_triples("```\nInstruction: Name a bird.\nOutput: A wren.\n```", STOP).rows == (FLY,)


def test_a_wrapper_may_be_called_like_a_field() -> None:
    text = BOTH_IN_JSON.replace('"tasks"', '"task"')
    assert parse_triples(text, STOP).rows == (FLY, RHYME)


def test_numbered_lists_in_an_output_stay_whole() -> None:
    text = "Instruction: Give steps.\nOutput:\n1. Boil water.\n2. Add tea."
    assert parse_triples(text, STOP).rows == (Triple("Give steps.", "", "1. Boil water.\n2. Add tea."),)


@pytest.mark.parametrize("leaked", ["Instruction: ", "1. ", "Task 3: ", "- ", "**Instruction:** ", "2) "])
def test_prefixes_that_leaked_into_an_instruction_are_taken_off(leaked: str) -> None:
    text = json.dumps({"instruction": leaked + "Name a bird.", "input": "", "output": "A wren."})
    assert parse_triples(text, STOP).rows == (FLY,)


@pytest.mark.parametrize(
    "text",
    [
        "9. Name a bird.\n10. Write a poem\nin two lines.\n11. Sort these:\n   1. b\n   2. a",
        "Here are three:\n\n- Name a bird.\n- Write a poem\nin two lines.\n- Sort these:\n   1. b\n   2. a",
        "Task 1: Name a bird.\nTask 2: Write a poem\nin two lines.\nTask 3: Sort these:\n   1. b\n   2. a",
        '["Name a bird.", "Write a poem\\nin two lines.", "Sort these:\\n   1. b\\n   2. a"]',
        (
            '```json\n{"instructions": ["1. Name a bird.", "Write a poem\\nin two lines.", '
            '"Sort these:\\n   1. b\\n   2. a"]}\n```'
        ),
        (
            '[{"instruction": "Name a bird."}, {"instruction": "Write a poem\\nin two lines."}, '
            '{"instruction": "Sort these:\\n   1. b\\n   2. a"}]'
        ),
    ],
)
def test_instructions_are_read_from_lists(text: str) -> None:
    parsed = parse_instructions(text, STOP)
    assert parsed.rows == ("Name a bird.", "Write a poem\nin two lines.", "Sort these:\n   1. b\n   2. a")
    assert parsed.problems == ()


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1. Name a bird.\n2. Write a po", "Write a po"),
        ('{"instructions": ["Name a bird.", "Write a po', '"Name a bird.", "Write a po'),
        (
            '{"instruction_1": {"topic": "b", "instruction": "Name a bird."}, "instruction_2": {"topic": "verse", "in',
            '"instruction_2": {"topic": "verse", "in',
        ),
    ],
)
def test_a_list_that_was_cut_loses_its_last_item(text: str, cut: str) -> None:
    parsed = parse_instructions(text, LENGTH)
    assert parsed.rows == ("Name a bird.",)
    assert [problem.reason for problem in parsed.problems] == [Unreadable.CUT]
    assert cut in parsed.problems[0].text


def test_prose_is_no_list_of_instructions() -> None:
    parsed = parse_instructions("Of course, I will think about it.", STOP)
    assert parsed.rows == ()
    assert parsed.problems == (Problem(Unreadable.NOTHING_FOUND, "Of course, I will think about it."),)


@pytest.mark.parametrize(
    "text",
    [
        '{"instances": [{"input": "cat", "output": "hat"}, {"input": "sun", "output": "fun"}]}',
        '{"output": "hat", "input": "cat"}\n{"output": "fun", "input": "sun"}',
        "Input: cat\nOutput: hat\n\nInput: sun\nOutput: fun",
        "Output: hat\nInput: cat\nOutput: fun\nInput: sun",
        "Example 1\nLabel: hat\nInput: cat\n\nExample 2\nLabel: fun\nInput: sun",
    ],
)
def test_instances_are_read_whichever_field_comes_first(text: str) -> None:
    assert parse_instances(text, STOP).rows == (Instance("cat", "hat"), Instance("sun", "fun"))


def test_an_instance_may_need_no_input() -> None:
    assert parse_instances("Input: <noinput>\nOutput: hat", STOP).rows == (Instance("", "hat"),)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("yes", True), (" No.", False), ("**Yes**, it does", True), ("true", True), ("not sure", None), ("", None)],
)
def test_yes_and_no_are_told_apart(text: str, answer: bool | None) -> None:
    assert parse_yes_no(text) is answer


@given(text=st.text(max_size=400), finish_reason=st.sampled_from(FinishReason))
def test_no_text_breaks_the_parser_and_none_disappears_unseen(text: str, finish_reason: FinishReason) -> None:
    for parse in (parse_triples, parse_instances, parse_instructions):
        parsed = parse(text, finish_reason)
        assert parsed.rows or parsed.problems


FRAGMENTS = st.sampled_from(
    ['{"tasks": [', '{"instruction": ', '"a b"', ", ", '"input": ', '"output": ', "}", "]", "\n", "### ", "1. ",
     "Instruction: ", "Input:", "Output: x", "```json", "\\", '"', "[", "{", "word ", "<noinput>", "Task 2:"]
)  # fmt: skip


@given(parts=st.lists(FRAGMENTS, max_size=60), finish_reason=st.sampled_from(FinishReason))
def test_no_mixture_of_marks_breaks_the_parser(parts: list[str], finish_reason: FinishReason) -> None:
    text = "".join(parts)
    for row in parse_triples(text, finish_reason).rows:
        assert row.instruction
        assert row.output
    for instance in parse_instances(text, finish_reason).rows:
        assert instance.output
    assert all(parse_instructions(text, finish_reason).rows)


@given(
    rows=st.lists(
        st.tuples(st.text("abc .!\n", min_size=1), st.text("xyz \n"), st.text("opq\n", min_size=1)).filter(
            lambda row: row[0].strip() and row[2].strip()
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_is_written_as_json_comes_back(rows: list[tuple[str, str, str]]) -> None:
    text = json.dumps({"tasks": [dict(zip(("instruction", "input", "output"), row, strict=True)) for row in rows]})
    parsed = parse_triples(text, STOP)
    assert [(row.instruction, row.input, row.output) for row in parsed.rows] == [
        tuple(part.strip() for part in row) for row in rows
    ]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"instruction": ' * 20_000, "1. " * 50_000, '"' * 100_000, "#" * 99_999]
)
def test_hostile_text_is_read_in_bounded_time(text: str) -> None:
    for parse in (parse_triples, parse_instances, parse_instructions):
        assert parse(text, STOP).problems or parse(text, STOP).rows


COMPLETIONS = [json.loads(line) for line in (Path(__file__).parent / "completions.jsonl").read_text().splitlines()]
"""What real models wrote, with the rows that are in it (counted by their keys) and the reasons of what gave none."""


@pytest.mark.parametrize("real", COMPLETIONS, ids=lambda real: real["id"])
def test_real_completions_give_all_their_rows(real: dict[str, Any]) -> None:
    rows, problems = read(real["kind"], real["text"], FinishReason(real["finish_reason"]))
    assert len(rows) == real["rows"]
    assert problems == real["problems"]
    for row in rows:
        for value in filter(None, row):
            assert letters(value) in letters(real["text"])


def read(kind: str, text: str, finish_reason: FinishReason) -> tuple[list[tuple[str, ...]], list[str]]:
    if kind == "instructions":
        instructions = parse_instructions(text, finish_reason)
        return [(row,) for row in instructions.rows], [problem.reason for problem in instructions.problems]
    if kind == "solution":
        solution = read_solution(text)
        return ([(solution.rationale, solution.answer)], []) if solution else ([], ["no_final_answer"])
    if kind == "task":
        tasks = parse_tasks(text, finish_reason)
        return [(row.instruction, row.input) for row in tasks.rows], [problem.reason for problem in tasks.problems]
    if kind == "instances":
        instances = parse_instances(text, finish_reason)
        return [(row.input, row.output) for row in instances.rows], [problem.reason for problem in instances.problems]
    triples = parse_triples(text, finish_reason)
    whole: list[tuple[str, ...]] = [(row.instruction, row.input, row.output) for row in triples.rows]
    return whole, [problem.reason for problem in triples.problems]


def letters(text: str) -> str:
    """Only letters, so that neither JSON's escapes nor labels between lines matter."""
    return "".join(filter(str.isalpha, re.sub(r"\\u[0-9a-f]{4}|\\[nrtbf]", "", text)))
