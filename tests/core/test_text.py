"""The words, canonical forms and hashes that every comparison rests on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.tokenize import tokenize

from seedbed.core.text import canonical, content_id, folded, rouge_words, triple_id, words


@given(st.text())
def test_rouge_words_equal_rouge_scores_tokenizer(text: str) -> None:
    assert rouge_words(text) == tokenize(text, None)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_equal_rouge_scores_tokenizer_on_ascii_text(text: str) -> None:
    assert words(text) == tokenize(text, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe und Maß", ["größe", "und", "maß"]),
        ("你好 world", ["你", "好", "world"]),
        ("Привет, мир!", ["привет", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("cafe\u0301 au lait", ["café", "au", "lait"]),
        ("snake_case", ["snake", "case"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("٣ كتب", ["٣", "كتب"]),
    ],
)
def test_words_beyond_ascii(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(alphabet=st.characters(codec=None)))
def test_canonical_text_can_always_be_stored_and_is_a_fixed_point(text: str) -> None:
    once = canonical(text)
    once.encode()
    assert canonical(once) == once


def test_composed_and_decomposed_text_have_one_id() -> None:
    assert triple_id("caf\u00e9", "", "x\r\n") == triple_id("cafe\u0301", "", "x")


def test_moving_a_boundary_changes_the_id() -> None:
    assert content_id(["ab", "c"]) != content_id(["a", "bc"])


def test_folded_ignores_case_width_and_spacing() -> None:
    assert folded("  Ｆull\twidth ") == folded("full WIDTH")
