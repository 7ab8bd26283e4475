"""Overlap with benchmarks: the rules against a plain Python reading of them, and what must and must not be refused."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import ConfigError, MissingFileError
from seedbed.core.filter_config import ContaminationConfig
from seedbed.core.records import Candidate, Lineage, Verdict
from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.normal_form import normal_text, normal_words
from seedbed.filters.overlap_index import Rule
from seedbed.filters.references import Item, Reference

BENCHMARKS = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
OWN = ContaminationConfig(digests=False)
LANTERN = "An old lantern keeper walks 14 steps up the tower, then 9 down; how many steps is she from the door?"
FERRY = "Which ferry leaves the northern harbour first on a foggy Tuesday, and who is allowed to steer it?"


def reference(*texts: str, name: str = "exam") -> Reference:
    return Reference(name, tuple(Item(row, text) for row, text in enumerate(texts, 1)))


def knowing(*texts: str, config: ContaminationConfig = OWN) -> ContaminationFilter:
    return ContaminationFilter(config, loaded=[reference(*texts)])


def verdict(contamination: ContaminationFilter, instruction: str, input: str = "", output: str = "Fine.") -> Verdict:
    return contamination.check(Candidate.of(instruction, input, output, lineage=Lineage(recipe="import")))


def test_a_whole_item_is_refused_with_benchmark_and_row_and_words() -> None:
    found = verdict(knowing(FERRY, LANTERN), LANTERN)
    assert (found.accepted, found.reason, found.neighbour_id) == (False, "equal_item", "exam/2")
    assert found.evidence == (" ".join(normal_words(LANTERN)),)


@pytest.mark.parametrize("place", ["instruction", "input", "output"])
def test_an_item_is_found_in_every_field(place: str) -> None:
    fields = {"instruction": "Say this.", "input": "", "output": "Yes."} | {place: LANTERN}
    assert verdict(knowing(LANTERN), **fields).reason == "equal_item"


def test_an_item_cut_in_two_by_the_fields_is_found_in_them_joined() -> None:
    head, tail = LANTERN.split(";")
    assert verdict(knowing(LANTERN), head, tail, "No.").reason == "equal_item"


def test_an_item_of_six_words_is_found_inside_other_text() -> None:
    found = verdict(knowing("Where do grey herons sleep tonight?"), "Tell me. Where do grey herons sleep tonight? Why?")
    assert (found.reason, found.evidence) == ("embedded_item", ("where do grey herons sleep tonight",))


def test_an_item_of_five_words_counts_only_as_a_whole_field() -> None:
    contamination = knowing("Where do herons sleep tonight?")
    assert verdict(contamination, "Tell me. Where do herons sleep tonight? Why?").accepted
    assert verdict(contamination, "Tell me.", "where do herons sleep tonight").reason == "equal_item"


def test_an_embedded_item_ends_where_words_end() -> None:
    contamination = knowing("is it an art or a craft")
    assert verdict(contamination, "Say: this it an art or a craft").accepted
    assert verdict(contamination, "Say: is it an art or a crafty").accepted
    assert not verdict(contamination, "Say: is it an art or a craft").accepted


def test_numbers_of_a_short_item_are_not_run_together() -> None:
    contamination = knowing("4, 3")
    assert verdict(contamination, "How many?", "", "43").accepted
    assert not verdict(contamination, "How many?", "", "4 3").accepted


ALTERED = {
    "upper case": LANTERN.upper(),
    "no punctuation": "".join(one for one in LANTERN if one.isalnum() or one == " "),
    "other punctuation": LANTERN.replace(" ", " -- ").replace(";", "!"),
    "line breaks": LANTERN.replace(" ", "\r\n\t"),
    "decomposed": unicodedata.normalize("NFD", LANTERN.replace("a", "á")),
    "full width": "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in LANTERN),
    "Cyrillic letters": LANTERN.translate(str.maketrans("aeopcxyTAH", "аеорсхуТАН")),
    "Greek letters": LANTERN.translate(str.maketrans("oavAT", "οανΑΤ")),
    "invisible characters": LANTERN.replace("e", "e\u200b").replace("s", "\u00ads"),
    "no-break spaces": LANTERN.replace(" ", "\u00a0"),
    "mathematical letters": "".join(chr(0x1D41A + ord(one) - 97) if "a" <= one <= "z" else one for one in LANTERN),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_item_is_still_that_item(kind: str) -> None:
    contamination = knowing(LANTERN)
    assert verdict(contamination, ALTERED[kind]).reason == "equal_item"
    assert verdict(contamination, f"Please solve this. {ALTERED[kind]} Thank you!").reason == "embedded_item"


def test_thirteen_shared_words_are_refused_and_twelve_are_not() -> None:
    words = [f"w{number}" for number in range(60)]
    contamination = knowing(" ".join(words))
    found = verdict(contamination, "Read on: " + " ".join(words[20:33]))
    assert (found.reason, found.score, found.threshold) == ("shared_ngram", 13.0, 13.0)
    assert found.evidence == (" ".join(words[20:33]),)
    accepted = verdict(contamination, "Read on: " + " ".join(words[20:32]))
    assert accepted.accepted
    assert (accepted.score, accepted.neighbour_id) == (12 / 60, "exam/1")


def test_half_of_an_items_words_in_shared_8_grams_is_refused() -> None:
    words = [f"w{number}" for number in range(20)]
    contamination = knowing(" ".join(words))
    assert verdict(contamination, " ".join(words[:9]) + " x").accepted
    found = verdict(contamination, " ".join(words[2:12]) + " x")
    assert (found.reason, found.score, found.threshold) == ("covered_item", 0.5, 0.5)
    assert found.evidence == (" ".join(words[2:12]),)


def test_boilerplate_condemns_nothing() -> None:
    opening = "Which of the following statements about the usual behaviour of rivers and lakes in this country is"
    items = [f"{opening} {word}?" for word in ["true", "false", "odd", "new", "old", "rare"]]
    for most, is_accepted in ((10, False), (5, True)):
        contamination = knowing(*items, config=OWN.model_copy(update={"max_document_frequency": most}))
        assert verdict(contamination, f"{opening} blue?").accepted is is_accepted


def test_an_item_that_stands_in_many_others_counts_only_as_a_whole_field() -> None:
    phrase = "Which of these is not right"
    contamination = knowing(phrase, *(f"{phrase} for t{number} u{number}?" for number in range(11)))
    assert verdict(contamination, f"Think. {phrase} here?").accepted
    assert verdict(contamination, f"{phrase}?").reason == "equal_item"


def test_copies_of_a_benchmark_do_not_make_it_boilerplate() -> None:
    copies = [reference(LANTERN, name=f"copy{number}") for number in range(30)]
    contamination = ContaminationFilter(OWN, loaded=copies)
    assert not verdict(contamination, " ".join(LANTERN.split()[:14])).accepted
    assert not verdict(knowing(*[LANTERN] * 30), " ".join(LANTERN.split()[:14])).accepted


def grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def covered_words(words: Sequence[str], known: set[tuple[str, ...]], size: int) -> int:
    places = {at + step for at, gram in enumerate(grams(words, size)) if gram in known for step in range(size)}
    return len(places)


WORDS = st.sampled_from(["a", "bb", "the", "Ôr", "х", "7"])
ITEMS = st.lists(st.lists(WORDS, min_size=1, max_size=25), min_size=1, max_size=5)
small = ContaminationConfig(digests=False, ngram=5, coverage_ngram=3, max_document_frequency=1000, min_item_words=3)


@settings(max_examples=300, deadline=None)
@given(ITEMS, st.lists(WORDS, max_size=40))
def test_the_rules_find_what_plain_python_finds(items: list[list[str]], words: list[str]) -> None:
    texts, row = [" ".join(item) for item in items], ("Go:", " ".join(words), "Done")
    contamination = ContaminationFilter(small, loaded=[reference(*texts)])
    found = contamination.rules_of([row])[0]
    normal_items = [normal_words(text) for text in texts]
    field, everything = normal_words(row[1]), [word for part in row for word in normal_words(part)]
    assert (Rule.EQUAL_ITEM in found) >= (field in normal_items)
    is_embedded = any(tuple(item) in grams(everything, len(item)) for item in normal_items if len(item) >= 3)
    assert (Rule.EMBEDDED_ITEM in found) >= is_embedded
    long = {gram for item in normal_items for gram in grams(item, 5)}
    assert (Rule.SHARED_NGRAM in found) == any(gram in long for gram in grams(everything, 5))
    ours = set(grams(everything, 3))
    shares = [covered_words(item, ours, 3) / len(item) for item in normal_items]
    assert (Rule.COVERED_ITEM in found) == (max(shares) >= 0.5)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_words_are_the_same_whatever_the_unicode_form(text: str) -> None:
    plain = text.encode("utf-8", "replace").decode()
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert normal_words(unicodedata.normalize(form, plain)) == normal_words(plain)
    assert normal_words(normal_text(plain)) == normal_words(plain)


def test_the_ngram_must_not_be_shorter_than_the_one_for_coverage() -> None:
    with pytest.raises(ConfigError, match="ngram must be at least coverage_ngram"):
        ContaminationFilter(ContaminationConfig(digests=False, ngram=5))


def test_digests_measure_8_grams_only() -> None:
    with pytest.raises(ConfigError, match="coverage_ngram must be 8 with the digests"):
        ContaminationFilter(ContaminationConfig(coverage_ngram=7))


def test_a_reference_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingFileError, match="no reference /nowhere"):
        ContaminationFilter(OWN, references=[Path("/nowhere")])


def test_a_filter_without_references_accepts_everything() -> None:
    assert verdict(ContaminationFilter(OWN), LANTERN).accepted


def test_many_candidates_at_once_are_judged_as_one_by_one() -> None:
    contamination = knowing(LANTERN, FERRY)
    rows = [LANTERN, "Sing.", f"Now: {FERRY}", FERRY[:60]]
    candidates = [Candidate.of(text, "", "Ok.", lineage=Lineage(recipe="import")) for text in rows]
    assert contamination.check_many(candidates) == [contamination.check(one) for one in candidates]


def test_hostile_text_stops_nothing() -> None:
    contamination = knowing(LANTERN)
    for text in ("", "\x00", "\ud800" * 20, "\u202e\u0301" * 1000, "x" * 1_000_000, "a " * 500_000):
        assert verdict(contamination, text, text, text).accepted


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not there")
def test_the_shipped_digests_find_the_benchmarks_they_were_made_from() -> None:
    from seedbed.filters.references import read_references

    contamination = ContaminationFilter()
    for one in read_references(BENCHMARKS):
        rows = [("Solve this.", item.text, "Ok.") for item in one.items[:200] if normal_words(item.text)]
        assert all(Rule.EQUAL_ITEM in rules for rules in contamination.rules_of(rows)), one.name
