"""Scores agree with hand-worked values and with the rules they cite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from seedbed.evaluation.metrics import exact_match, is_short, normalised, rouge_l, score


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("  Yes! ", "yes"),
        ("A.", "A"),
        ("a", "A"),
        ("1,000 metres", "1000 metres"),
        ("“not stated”", "not stated"),
        ("ﬁne", "fine"),
        ("cast-iron", "castiron"),
        ("STRASSE", "straße"),
        ("42.", "42"),
        ("答案。", "答案"),
        ("!", "!"),
    ],
)
def test_answers_that_differ_in_form_alone_match(answer: str, reference: str) -> None:
    assert exact_match(answer, [reference]) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        ("-.5", "-5"),
        (".5", "5"),
        ("yes, it is", "yes"),
        ("B", "A"),
        ("the", "A"),
        ("", "A"),
        ("", "!"),
        ("...", "A"),
        ("", ""),
        ("the tower", "tower of london"),
    ],
)
def test_answers_that_differ_in_content_do_not(answer: str, reference: str) -> None:
    assert exact_match(answer, [reference]) == 0.0


def test_any_of_the_references_counts() -> None:
    assert exact_match("Paris", ["paris, france", "Paris"]) == 1.0


def test_normalising_follows_the_squad_script_on_plain_text() -> None:
    # Worked by hand after evaluate-v1.1: lower-case, no punctuation, no articles, single spaces.
    assert normalised("The  quick, (brown) fox — an old one's!") == "quick brown fox old ones"
    assert normalised("a sign: −3.5 and +2") == "sign -3.5 and +2"


def test_rouge_l_of_a_hand_worked_pair() -> None:
    # LCS of "the cat sat on the mat" (6) and "the cat lay on a mat" (6) is "the cat on mat": P = R = F = 4/6.
    assert rouge_l("the cat lay on a mat", ["the cat sat on the mat"]) == pytest.approx(2 / 3)
    # Against 3 words of which 2 match in order: P = 2/3, R = 2/6, F = 2·(2/3)(1/3)/(2/3+1/3) = 4/9.
    assert rouge_l("the dog sat", ["the cat sat on the mat"]) == pytest.approx(4 / 9)


def test_the_nearest_reference_counts() -> None:
    assert rouge_l("a cat was there", ["something else", "a cat was there"]) == 1.0


def test_an_empty_answer_scores_nothing() -> None:
    assert rouge_l("", ["something"]) == 0.0


def test_other_scripts_are_not_blind() -> None:
    # rouge_score's own tokenizer sees nothing here; each character is a word, 4 of 5 match: P = R = 4/5.
    assert RougeScorer(["rougeL"]).score("今日は雨", "今日は雨")["rougeL"].fmeasure == 0.0
    assert rouge_l("今日は雨", ["今日は雨"]) == 1.0
    assert rouge_l("今日は雪だ", ["今日は雨だ"]) == pytest.approx(4 / 5)


@given(
    st.lists(st.sampled_from(["the", "a", "cat", "Dog", "runs,", "12", "mat!"]), max_size=12),
    st.lists(st.sampled_from(["the", "a", "cat", "Dog", "runs,", "12", "mat!"]), max_size=12),
)
def test_on_ascii_text_rouge_l_is_that_of_rouge_score(answer: list[str], reference: list[str]) -> None:
    expected = RougeScorer(["rougeL"], use_stemmer=False).score(" ".join(reference), " ".join(answer))
    assert rouge_l(" ".join(answer), [" ".join(reference)]) == expected["rougeL"].fmeasure


@given(st.text("aAtThHeE 15.,-!", max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_labels_and_short_references_are_scored_by_exact_match_and_the_rest_by_rouge() -> None:
    assert score("cast iron", ["cast iron"]).exact_match == 1.0
    assert score("cast iron", ["cast iron"]).rouge_l is None
    assert score("because it was raining", ["because it was snowing"]).rouge_l == pytest.approx(3 / 4)
    label = score("a very long label indeed", ["another very long label"], is_classification=True)
    assert (label.exact_match, label.rouge_l, label.value) == (0.0, None, 0.0)


def test_one_long_reference_makes_a_row_long() -> None:
    assert is_short(["two milk cows", "cows"])
    assert not is_short(["cows", "two milk cows and a goat"])
