"""The ROUGE-L index against `rouge_score`, pair by pair, to the last bit of the score."""

import gzip
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from seedbed.filters.rouge import FLOOR, Match, RougeIndex, common_words

SCORER = RougeScorer(["rougeL"])
CORPUS = Path(__file__).parents[3] / "shared" / "data" / "corpus"

# Few words make many repeats and many near-duplicates; a little of everything else makes the tokenizer work.
texts = st.lists(st.sampled_from(["a", "b", "c", "the", "of", "x1", "Ünder", "日本", "-", "The"]), max_size=14).map(
    " ".join
)
ascii_texts = st.lists(st.sampled_from(["a", "b", "c", "the", "of", "x1", "THE", "it's"]), max_size=14).map(" ".join)


def scores(pool: list[str], text: str) -> list[float]:
    """Brute force."""
    return [SCORER.score(entry, text)["rougeL"].fmeasure for entry in pool]


def best_of(found: list[float], is_wanted: Callable[[float], bool]) -> Match | None:
    best = max(found, default=0.0)
    return Match(str(found.index(best)), best) if best > 0 and is_wanted(best) else None


def expected(pool: list[str], text: str, is_wanted: Callable[[float], bool]) -> Match | None:
    return best_of(scores(pool, text), is_wanted)


def filled(pool: list[str], **settings: object) -> RougeIndex:
    index = RougeIndex(**settings)  # type: ignore[arg-type]
    index.load((str(number), text) for number, text in enumerate(pool))
    return index


def assert_equal_to_brute_force(index: RougeIndex, pool: list[str], text: str) -> None:
    found = scores(pool, text)
    assert index.best(text) == best_of(found, index.is_beyond)
    assert index.is_near_duplicate(text) == any(index.is_beyond(score) for score in found)
    assert index.nearest(text) == best_of(found, lambda score: score >= index.floor)
    ranked = sorted(enumerate(found), key=lambda pair: (-pair[1], pair[0]))
    assert index.top_k(text, 5) == [Match(str(number), score) for number, score in ranked[:5] if score > 0]


@settings(max_examples=100, deadline=None)
@given(
    pool=st.lists(texts, max_size=30),
    asked=st.lists(texts, min_size=1, max_size=4),
    threshold=st.sampled_from([0.7, 0.5, 2 / 3, 0.8, 1.0, 0.3]),
    operator=st.sampled_from([">", ">="]),
)
def test_every_answer_equals_brute_force(pool: list[str], asked: list[str], threshold: float, operator: str) -> None:
    index = filled(pool, threshold=threshold, operator=operator, tokenizer="rouge")
    for text in asked:
        assert_equal_to_brute_force(index, pool, text)


@settings(max_examples=100, deadline=None)
@given(pool=st.lists(ascii_texts, max_size=20), text=ascii_texts)
def test_the_default_tokenizer_equals_rouge_score_on_ascii_text(pool: list[str], text: str) -> None:
    assert_equal_to_brute_force(filled(pool), pool, text)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_answers_are_right_after_any_sequence_of_changes(data: st.DataObject) -> None:
    index = RougeIndex(tokenizer="rouge")
    confirmed: dict[str, str] = {}
    held: dict[str, str] = {}
    for step in range(data.draw(st.integers(1, 25))):
        change = data.draw(st.sampled_from(["insert", "insert", "insert", "confirm", "undo", "remove", "rebuild"]))
        if change == "insert":
            key, text = str(step % 7), data.draw(texts)
            if key not in confirmed | held:
                held[key] = text
            index.insert(key, text)
        elif change == "confirm":
            index.confirm()
            confirmed, held = confirmed | held, {}
        elif change == "undo":
            index.undo()
            held = {}
        elif change == "remove":
            key = str(data.draw(st.integers(0, 6)))
            index.remove(key)
            confirmed.pop(key, None)
            held.pop(key, None)
        else:
            index.load([])
            confirmed, held = confirmed | held, {}
        pool = confirmed | held
        text = data.draw(texts)
        match = index.best(text)
        wanted = expected(list(pool.values()), text, index.is_beyond)
        assert len(index) == len(pool)
        assert match == (wanted and Match(list(pool)[int(wanted.key)], wanted.score))


def altered(text: str, rng: random.Random) -> str:
    """Change a few words, so that scores fall around the threshold."""
    words = text.split()
    for _ in range(rng.randint(0, 1 + len(words) // 3)):
        at = rng.randrange(len(words) + 1)
        words[at : at + rng.randint(0, 2)] = [rng.choice(words)] if words and rng.random() < 0.5 else []
    return " ".join(words)


@pytest.mark.parametrize("corpus", ["short_1m", "templated_300k"])
def test_no_decision_differs_on_real_text(corpus: str) -> None:
    path = CORPUS / f"{corpus}.txt.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pool = [line.rstrip("\n") for line in itertools.islice(lines, 400)]
    rng = random.Random(5)
    # Scores around the threshold come from altered copies, chosen from a band so that brute force stays affordable.
    asked = [altered(rng.choice(pool), rng) for _ in range(25)]
    index = filled(pool, tokenizer="rouge")
    for text in asked:
        assert index.best(text) == expected(pool, text, index.is_beyond)


def test_no_decision_differs_over_a_hundred_thousand_generated_pairs() -> None:
    rng = random.Random(7)
    words = ["the", "of", "a", "to", *(f"w{number}" for number in range(30))]
    pool = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(500)]
    for number in range(250):
        pool[2 * number] = altered(pool[2 * number + 1], rng)
    index = RougeIndex()
    for number, text in enumerate(pool):
        index.insert(str(number), text)
        index.confirm()
    disagreements = 0
    for _ in range(200):
        text = altered(rng.choice(pool), rng)
        disagreements += index.best(text) != expected(pool, text, index.is_beyond)
    assert disagreements == 0


@pytest.mark.parametrize("count", [63, 64, 65, 127, 128, 129, 400])
def test_long_texts_follow_the_same_rule(count: int) -> None:
    rng = random.Random(count)
    base = rng.choices(["the", "of", *(f"w{number}" for number in range(count // 2))], k=count)
    pool = [" ".join(base), " ".join(base[: count * 2 // 3]), " ".join(base[::-1]), "the of the"]
    index = filled(pool)
    for share in (0.1, 0.27, 0.4):
        text = " ".join(word if rng.random() > share else "new" for word in base)
        assert_equal_to_brute_force(index, pool, text)


@pytest.mark.parametrize(("a", "b"), [(10, 10), (13, 7), (20, 20), (7, 13), (30, 10), (90, 110)])
def test_a_score_at_the_threshold_falls_where_rouge_score_puts_it(a: int, b: int) -> None:
    # At F = 0.7 exactly the float falls on either side, depending on the lengths; every common prefix is tried.
    for common in range(min(a, b) + 1):
        entry = " ".join([f"s{number}" for number in range(common)] + [f"l{number}" for number in range(a - common)])
        text = " ".join([f"s{number}" for number in range(common)] + [f"r{number}" for number in range(b - common)])
        for operator in (">", ">="):
            index = filled([entry], operator=operator)
            assert index.best(text) == expected([entry], text, index.is_beyond)


def test_the_earliest_of_equals_is_the_neighbour() -> None:
    index = filled(["one two three four x", "one two three four y", "one two three four z"])
    match = index.best("one two three four")
    assert match is not None
    assert match.key == "0"
    index.remove("0")
    match = index.best("one two three four")
    assert match is not None
    assert match.key == "1"


def test_excluded_entries_are_not_compared() -> None:
    index = filled(["one two three four", "one two three five"])
    match = index.best("one two three four", exclude=["0", "nobody"])
    assert match == Match("1", 0.75)
    assert index.best("one two three four", exclude=["0", "1"]) is None
    assert [found.key for found in index.top_k("one two three four", 2, exclude=["1"])] == ["0"]


def test_screening_decides_each_text_against_those_before_it() -> None:
    rng = random.Random(3)
    asked = [" ".join(rng.choices("abcdef", k=6)) for _ in range(150)]
    index = RougeIndex()
    got = index.screen([(str(number), text) for number, text in enumerate(asked)])
    kept: list[int] = []
    for number, text in enumerate(asked):
        wanted = expected([asked[k] for k in kept], text, index.is_beyond)
        assert got[number] == (wanted and Match(str(kept[int(wanted.key)]), wanted.score))
        if wanted is None:
            kept.append(number)
    assert len(index) == len(kept)


def test_an_index_that_was_saved_answers_as_before(tmp_path: Path) -> None:
    index = filled(["one two three four", "日本 の 川", "", "five six seven"], operator=">=", threshold=0.6)
    index.remove("3")
    index.save(tmp_path / "index.npz")
    again = RougeIndex.read(tmp_path / "index.npz")
    assert len(again) == 3
    assert again.threshold == 0.6
    assert again.operator == ">="
    assert again.best("one two three five") == index.best("one two three five") != None  # noqa: E711
    assert again.best("日本 の 山") == index.best("日本 の 山")
    assert again.best("five six seven") is None


def test_the_index_grows_through_rebuilds() -> None:
    rng = random.Random(11)
    index = RougeIndex()
    pool = [" ".join(rng.choices([f"w{number}" for number in range(400)], k=8)) for _ in range(3000)]
    for number, text in enumerate(pool):
        index.insert(str(number), text)
        if number % 7 == 0:
            index.confirm()
        if number % 5 == 0:
            index.remove(str(number))
    assert len(index) == 2400
    for number in range(0, 3000, 97):
        match = index.best(pool[number])
        if number % 5:
            assert match == Match(str(number), 1.0)
        else:
            assert match is None or match.score < 1.0


def test_many_inserted_at_once_are_as_tentative_as_one() -> None:
    index = filled(["one two three four"])
    index.insert_many([("x", "five six seven eight"), ("x", "not this one"), ("0", "nor this")])
    assert index.best("five six seven eight") == Match("x", 1.0)
    assert index.best("not this one") is None
    index.undo()
    assert index.best("five six seven eight") is None
    assert index.best("one two three four") == Match("0", 1.0)


def test_hostile_texts_are_texts() -> None:
    hostile = ["\x00\x00", "\ud800 lone", "a\u0301 e\u0301", "مرحبا بالعالم", "x" * 100_000, "na " * 5000, "\u200d"]
    index = filled(hostile)
    for number, text in enumerate(hostile):
        match = index.nearest(text)
        if index.tokenize(text):
            assert match == Match(str(number), 1.0)
        else:
            assert match is None
    index.remove("\ud800")


def test_the_floor_is_never_above_the_threshold() -> None:
    assert RougeIndex(threshold=0.3).floor == 0.3
    assert RougeIndex().floor == FLOOR


def test_common_words_are_a_longest_common_subsequence() -> None:
    assert common_words(["a", "b", "c", "d"], ["b", "x", "d", "a"]) == ("b", "d")
    assert common_words([], ["a"]) == ()
