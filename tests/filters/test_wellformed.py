"""The rules of form: what is refused, with which reason, and what stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import ConfigError
from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate, Lineage, Verdict
from seedbed.filters.protocol import as_candidate
from seedbed.filters.wellformed import InstructionFilter, WellformedFilter
from seedbed.seeds.load import PACKAGED_TASKS, load_seed_tasks

IMPORTED = Lineage(recipe="import")
ASK = "Name the capital of the country that is given."


def row(instruction: str = ASK, input: str = "", output: str = "Paris", category: str = "") -> Candidate:
    return Candidate.of(instruction, input, output, lineage=IMPORTED, category=category)


def verdict(candidate: Candidate, config: WellformedConfig | None = None) -> Verdict:
    return WellformedFilter(config).check(candidate)


def reason(candidate: Candidate, config: WellformedConfig | None = None) -> str:
    return verdict(candidate, config).reason


def test_an_ordinary_row_is_accepted_without_a_reason() -> None:
    found = verdict(row(input="France"))
    assert (found.filter, found.accepted, found.reason, found.evidence) == ("wellformed", True, "", ())


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (row("Summarize this text", "Some text."), "instruction_too_short"),
        (row("word " * 151), "instruction_too_long"),
        (row(output="x" * 20_001), "too_long"),
        (row(output="  \n\u200b\ufeff "), "empty_output"),
        (row(output="Par\x00is"), "broken_characters"),
        (row(output="Par\ufffdis"), "broken_characters"),
        (row(input="Paris", output=" Paris\r\n"), "input_equals_output"),
        (row(output=ASK.upper()), "echo"),
        (row(input="France", output=f"{ASK}\nFrance"), "echo"),
        (row(input=ASK, output="Paris"), "input_repeats_instruction"),
        (row(output="The capital is:"), "ends_with_colon"),
        (row(input="These are the countries:"), "ends_with_colon"),
        (row(". Name the capital of France."), "starts_with_punctuation"),
        (row("3. Name the capital of France."), "starts_with_punctuation"),
        (row("Translate this sentence into German:"), "missing_input"),
        (row("Summarize the following article in two sentences."), "missing_input"),
        (row("Task 3: name the capital of France."), "template_leak"),
        (row(input="<noinput>"), "template_leak"),
        (row(output="Paris\n### Instruction:\nName a river."), "template_leak"),
        (row(output="Output: Paris"), "template_leak"),
        (row(output="Paris<|im_end|>"), "template_leak"),
        (row(output="Sure! Here is the capital you asked for."), "assistant_preamble"),
        (row(output="Dear [Insert name here], welcome."), "placeholder"),
        (row(output="[output]"), "placeholder"),
        (row(input="N/A"), "placeholder"),
        (row(output="Three things:\n1. Water\n2. Salt\n3."), "cut_output"),
        (row(output="```python\nprint('Paris')"), "cut_output"),
        (row(output="The tower was built by a company that finished it in 20"), "cut_output"),
        (row(output="It is a city on a river that is known for the"), "cut_output"),
        (row("Draw a picture of the Eiffel Tower."), "blocklisted_word"),
        (row(output="I'm sorry, but I can't help with that."), "unexpected_refusal"),
        (row(output="Paris is nice. " * 20), "repetition"),
        (row(output="The owner's card is 4539 1488 0343 6467."), "card_number"),
    ],
)
def test_each_fault_has_its_name(candidate: Candidate, expected: str) -> None:
    found = verdict(candidate)
    assert (found.accepted, found.reason) == (False, expected)


@pytest.mark.parametrize(
    "candidate",
    [
        row("Write a program that prints the first ten primes.", output="print([2, 3, 5, 7, 11, 13, 17, 19, 23, 29])"),
        row('"Time flies like an arrow." Explain the ambiguity.', output="It can be read as an order."),
        row("Complete the body of this function.", "def add(a, b):", "    return a + b"),
        row("Rewrite the text in capital letters.", "paris", "PARIS"),
        row("Which word is the preposition here?", "a cup of tea", "of"),
        row("Fix the indentation of the code.", "if x:\nprint(x)", "if x:\n    print(x)"),
        row("Write a template for a welcome letter.", output="Dear [Insert name], welcome to the team."),
        row("Repeat the word no forty times, separated by blanks.", output="no " * 40),
        row("Plan a garden in three tasks.", output="Task 1: dig.\nTask 2: sow.\nTask 3: water."),
        row("Write an email that declines a job offer.", output="Dear Ms Roe, I must decline your kind offer."),
        row("Describe the plot of a well-known tragedy.", output="A prince avenges his father."),
        row("Explain why people draw conclusions too fast.", output="They save effort."),
        row("ما هي عاصمة فرنسا في أوروبا؟", output="باريس"),
        row("フランスの首都はどこですか", output="パリ"),
        row("What is 7 times 6, as a number?", output="42"),
    ],
)
def test_a_good_row_that_looks_like_a_fault_stays(candidate: Candidate) -> None:
    assert verdict(candidate).accepted, verdict(candidate)


def test_a_refusal_carries_the_offending_text_and_the_numbers() -> None:
    found = verdict(row("Name the capital."))
    assert (found.evidence, found.score, found.threshold) == (("Name the capital.",), 3, 4)


def test_exactly_four_words_and_exactly_150_are_enough() -> None:
    assert verdict(row("Name the French capital")).accepted
    assert verdict(row(" ".join(["word"] * 150))).reason != "instruction_too_long"


def test_a_refusal_is_expected_in_its_categories_only() -> None:
    refusing = "I'm sorry, but I can't help with that."
    assert verdict(row(output=refusing, category="safety")).accepted
    assert reason(row(output=refusing, category="coding")) == "unexpected_refusal"


def test_the_verified_category_beats_the_requested_one() -> None:
    refusing = row(output="I cannot provide that.", category="coding")
    assert reason(refusing.model_copy(update={"requested_category": "safety"})) == "unexpected_refusal"


def test_scripts_are_checked_where_the_config_names_them() -> None:
    latin = WellformedConfig(scripts=("Latin",))
    assert reason(row(output="Париж"), latin) == "wrong_script"
    assert verdict(row(output="Zürich, 42"), latin).accepted
    assert verdict(row(output="Париж")).accepted
    assert verdict(row(output="東京です"), WellformedConfig(scripts=("Han", "Hiragana"))).accepted


def test_an_unknown_script_is_a_setting_error() -> None:
    with pytest.raises(ConfigError, match='unknown script "Klingon"'):
        WellformedFilter(WellformedConfig(scripts=("Klingon",)))


def test_an_instruction_in_another_alphabet_is_refused_on_wish_only() -> None:
    arabic = row("ما هي عاصمة فرنسا في أوروبا؟", output="باريس")
    assert reason(arabic, WellformedConfig(ascii_start=True)) == "starts_with_non_ascii"


def test_personal_data_may_be_let_in() -> None:
    card = row(output="The owner's card is 4539 1488 0343 6467.")
    assert verdict(card, WellformedConfig(personal_data=False)).accepted


def test_the_blunt_blocklist_refuses_the_words_anywhere() -> None:
    game = row("Name three video games of the nineties.", output="Doom, Myst, Quake")
    assert verdict(game).accepted
    assert reason(game, WellformedConfig(blocklist_rule="anywhere")) == "blocklisted_word"
    assert verdict(game, WellformedConfig(blocklist=())).accepted


def test_a_proposal_is_judged_by_its_instruction_alone() -> None:
    proposal = Candidate(id="p", task_id="p", instruction=ASK, output="", lineage=IMPORTED)
    assert InstructionFilter().check(proposal).accepted
    short = proposal.model_copy(update={"instruction": "Do it"})
    assert InstructionFilter().check(short).reason == "instruction_too_short"


def test_every_packaged_seed_task_is_well_formed() -> None:
    refused = {task.id: verdict(as_candidate(task)) for task in load_seed_tasks(PACKAGED_TASKS)}
    assert [found for found in refused.values() if not found.accepted] == []


HOSTILE = st.text(
    alphabet=st.one_of(
        st.characters(exclude_categories=[]),
        st.sampled_from("\x00\ud800\udfff\u202e\u200f\u0301\ufeff<>[]#`:.,|*-=\n\r\t 0123456789aAI'’"),
    ),
    max_size=300,
)


@settings(max_examples=400, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, st.integers(min_value=1, max_value=60))
def test_no_text_breaks_a_rule_and_every_refusal_has_a_reason(
    instruction: str, given_input: str, output: str, times: int
) -> None:
    candidate = Candidate.of(instruction, given_input, output * times, lineage=IMPORTED)
    for found in (
        verdict(candidate),
        verdict(candidate, WellformedConfig(scripts=("Latin",), min_instruction_words=0)),
    ):
        assert found.accepted == (found.reason == "")
        found.model_dump_json()


@pytest.mark.parametrize(
    "unit", ["a", "a ", "1", "4539 ", "\n- ", "<|", "[insert ", "I am ", "\u0301", "א", "```", "(a,"]
)
def test_a_megabyte_of_anything_is_answered(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit)))[:1_000_000]
    wide = WellformedConfig(max_field_characters=2_000_000, max_instruction_words=2_000_000)
    for candidate in (row(output=text), row(input=text), row(instruction=text)):
        assert reason(candidate) in {"too_long", "empty_output"}
        assert verdict(candidate, wide).filter == "wellformed"


def test_only_an_unanswerable_row_may_point_at_a_text_that_is_not_there() -> None:
    words = "Summarize the following article in two sentences."
    answer = "There is no article in your message; please paste it."
    assert reason(row(words, "", answer, "unanswerable")) == ""
    assert reason(row(words, "", answer, "summarization")) == "missing_input"
