"""Loops are found wherever they start; tables, verse and lists are not loops."""

from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.filters.finding import Finding
from seedbed.filters.repetition import longest_stretch, repetition


def found(output: str, instruction: str = "Tell me about the river.") -> Finding | None:
    row = Candidate.of(instruction, "", output, lineage=Lineage(recipe="import"))
    return repetition(row, WellformedConfig())


WORD = st.text("abcdefgh", min_size=1, max_size=5)


@given(st.lists(WORD, min_size=1, max_size=12), st.lists(WORD, max_size=10), st.integers(min_value=6, max_value=20))
def test_a_text_that_ends_in_a_long_loop_is_refused(unit: list[str], before: list[str], rounds: int) -> None:
    loop = unit * rounds * (1 + 30 // (len(unit) * rounds))
    refused = found(" ".join([*before, *loop]))
    assert refused is not None
    assert refused.reason == "repetition"


@given(st.integers(min_value=0, max_value=500))
def test_words_that_all_differ_are_no_loop(count: int) -> None:
    assert found(" ".join(f"word{number}" for number in range(count))) is None


def test_the_longest_stretch_is_the_looping_part() -> None:
    tokens = [
        "here",
        "it",
        "goes",
        "and",
        "the",
        "cat",
        "sat",
        "the",
        "cat",
        "sat",
        "the",
        "cat",
        "sat",
        "the",
        "cat",
        "sat",
        "the",
        "cat",
        "sat",
        "the",
        "cat",
        "sat",
        "down",
    ]
    assert list(longest_stretch(tokens)) == ["the", "cat", "sat"] * 6


def test_repeated_lines_and_characters_are_refused() -> None:
    assert found("\n".join(["The river is long.", "It flows to the sea."] + ["The river is very long."] * 6))
    assert found("The river is l" + "o" * 40 + "ng.")


def test_tables_verse_and_rules_stay() -> None:
    table = "\n".join(f"| {n} | {n * n} | {'even' if n % 2 == 0 else 'odd'} |" for n in range(1, 25))
    verse = "\n".join(f"{n} green bottles hanging on the wall, and if one should fall" for n in range(10, 0, -1))
    assert found(table) is None
    assert found(verse) is None
    assert found("Rivers\n" + "=" * 80 + "\nThe Danube is long.") is None


def test_repetition_that_was_asked_for_stays() -> None:
    assert found("no " * 50, "Repeat the word no fifty times.") is None
