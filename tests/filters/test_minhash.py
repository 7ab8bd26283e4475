"""Near-duplicates: signatures equal datasketch's, decisions equal the exact Jaccard."""

import numpy as np
from datasketch import LeanMinHash, MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.filter_config import MinHashConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.core.text import words
from seedbed.filters.minhash import MinHashFilter
from seedbed.filters.minhash_index import MinHashIndex, Sketcher, choose_bands

IMPORT = Lineage(recipe="import")
LONG = " ".join(f"word{number}" for number in range(40))
VOCABULARY = ["the", "cat", "naïve", "Straße", "数据", "x" * 30, "don't", "3.5", "sat,", "on"]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join) | st.text(max_size=200)
sketcher = Sketcher()


def row(instruction: str = "Count.", input: str = LONG, output: str = "done", task: str = "") -> Candidate:
    return Candidate.of(instruction, input, output, lineage=IMPORT, task_id=task)


def shingles(text: str, size: int = 5) -> set[str]:
    found = words(text)
    return {" ".join(found[at : at + size]) for at in range(max(len(found) - size + 1, min(len(found), 1)))}


def jaccard(first: set[str], second: set[str]) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0


def datasketch_of(text: str, permutations: int = 128, seed: int = 1) -> MinHash:
    made = MinHash(num_perm=permutations, seed=seed, scheme="affine32")
    made.update_batch([shingle.encode() for shingle in shingles(text)])
    return made


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_signature_equals_the_one_of_datasketch(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert np.array_equal(sketcher.sketch(text).signature, datasketch_of(text).hashvalues)


@settings(deadline=None)
@given(st.lists(texts, max_size=8))
def test_many_texts_at_once_have_the_signatures_they_have_alone(many: list[str]) -> None:
    together = sketcher.signatures(many)
    for text, signature in zip(many, together, strict=True):
        assert np.array_equal(signature, sketcher.sketch(text).signature)


def test_shingles_longer_than_a_block_of_sha1_hash_as_in_datasketch() -> None:
    for length in (9, 10, 11, 20, 22, 23, 24, 60, 500):
        text = " ".join(f"{letter * length}" for letter in "abcdefg")
        assert np.array_equal(sketcher.sketch(text).signature, datasketch_of(text).hashvalues)


def test_other_seeds_and_lengths_equal_datasketch_too() -> None:
    other = Sketcher(permutations=64, seed=7)
    assert np.array_equal(other.sketch(LONG).signature, datasketch_of(LONG, 64, 7).hashvalues)


def test_datasketch_takes_our_signature_as_its_own() -> None:
    lean = sketcher.sketch(LONG).lean()
    assert isinstance(lean, LeanMinHash)
    assert lean.jaccard(datasketch_of(LONG)) == 1.0


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, min_size=1, max_size=12), texts)
def test_the_nearest_has_the_jaccard_of_the_sets_themselves(known: list[str], text: str) -> None:
    index = MinHashIndex(choose_bands(0.7, 128))
    for one in known:
        index.add(sketcher.sketch(one))
    nearest = index.nearest(sketcher.sketch(text))
    exact = [jaccard(shingles(text), shingles(one)) for one in known]
    if nearest is not None and shingles(text):
        assert nearest.jaccard == exact[nearest.entry]
    if max(exact) > 0.99:
        assert nearest is not None
        assert nearest.entry == exact.index(max(exact))


def test_bands_find_pairs_at_the_threshold_in_999_of_1000_cases() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.9):
        bands = choose_bands(threshold, 128)
        assert 1 - (1 - threshold**bands.rows) ** bands.count >= 0.999
        assert bands.count * bands.rows <= 128


def test_the_index_keeps_its_answers_while_it_grows_and_loses_entries() -> None:
    index = MinHashIndex(choose_bands(0.7, 128))
    known = [" ".join(f"t{number}w{word}" for word in range(30)) for number in range(700)]
    entries = [index.add(sketcher.sketch(text)) for text in known]
    for number in range(0, 700, 2):
        index.remove(entries[number])
    for number, text in enumerate(known):
        nearest = index.nearest(sketcher.sketch(text))
        assert (nearest is None) == (number % 2 == 0)
        assert nearest is None or (nearest.entry, nearest.jaccard) == (entries[number], 1.0)
    assert len(index) == 350


def test_a_near_duplicate_names_its_neighbour_and_the_exact_jaccard() -> None:
    memory = MinHashFilter()
    first, second = row(), row(input=LONG + " more", output="finished")
    memory.add(first)
    found = memory.check(second)
    expected = jaccard(shingles(f"{LONG} done"), shingles(f"{LONG} more finished"))
    assert (found.accepted, found.reason, found.neighbour_id) == (False, "near_duplicate", first.id)
    assert (found.score, found.threshold) == (expected, 0.7)


def test_a_row_below_the_threshold_passes_and_shows_how_near_it_came() -> None:
    memory = MinHashFilter(MinHashConfig(threshold=0.95))
    memory.add(row())
    found = memory.check(row(input=LONG + " and so on", output="finished"))
    assert found.accepted
    assert found.score is not None
    assert 0.5 < found.score < 0.95


def test_short_rows_are_not_compared() -> None:
    memory = MinHashFilter()
    memory.add(row("Label it.", "Good soup.", "Positive"))
    assert memory.check(row("Label it!", "Good soup.", "Positive")).accepted


def test_the_instruction_counts_where_input_and_output_are_short() -> None:
    memory = MinHashFilter()
    memory.add(row(f"Repeat this: {LONG}", "", "No."))
    found = memory.check(row(f"Repeat this: {LONG} now", "", "No."))
    assert (found.accepted, found.reason) == (False, "near_duplicate")


def test_rows_of_one_task_are_not_refused_for_the_instruction_they_share() -> None:
    memory = MinHashFilter()
    memory.add(row(f"Label this: {LONG}", "good", "positive", task="t"))
    assert memory.check(row(f"Label this: {LONG}", "bad", "negative", task="t")).accepted
    assert memory.check(row(f"Label this: {LONG}", "bad", "negative", task="u")).accepted


def test_rows_of_one_task_are_refused_for_a_long_text_they_share() -> None:
    memory = MinHashFilter()
    memory.add(row(output="one", task="t"))
    assert not memory.check(row(output="two", task="t")).accepted


def test_undo_takes_back_what_was_not_confirmed() -> None:
    memory = MinHashFilter()
    memory.add(row())
    memory.undo()
    assert memory.check(row(output="finished")).accepted
    memory.add(row())
    memory.confirm()
    memory.undo()
    assert not memory.check(row(output="finished")).accepted


def test_a_removed_row_refuses_nothing_and_may_come_again() -> None:
    memory = MinHashFilter()
    first = row()
    memory.add(first)
    memory.remove(first.id)
    memory.remove("unknown")
    assert memory.check(row(output="finished")).accepted
    memory.add(first)
    memory.confirm()
    assert memory.check(row(output="finished")).neighbour_id == first.id


def test_instructions_are_screened_by_words_only_where_that_is_switched_on() -> None:
    first = row("Write a short poem about the sea in spring", "", "Waves.")
    second = row("Write a short poem about the sea in autumn", "", "Storm.")
    for is_on in (False, True):
        memory = MinHashFilter(MinHashConfig(on_instructions=is_on))
        memory.add(first)
        assert memory.check(second).accepted is not is_on


def test_hostile_text_neither_stops_the_filter_nor_meets_a_neighbour() -> None:
    memory = MinHashFilter()
    for text in ("\x00" * 100, "\ud800 " * 30, "x" * 1_000_000, "\u202e\u0301" * 50, ""):
        candidate = row("\ud800", text, text + "!")
        assert memory.check(candidate).accepted
        memory.add(candidate)
    assert memory.check(row()).accepted


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "B9", " ", "é", "E\u0301", "\u0301", "Σ", "ς", "\u212a", "漢", "—", "\u200d", "_", "İ"])
    )
)
def test_a_word_is_the_same_whatever_scripts_stand_around_it(parts: list[str]) -> None:
    text = "".join(parts)
    assert np.array_equal(sketcher.sketch(text).signature, datasketch_of(text).hashvalues)


def test_many_taken_at_once_find_the_neighbours_they_find_one_by_one() -> None:
    known = [" ".join(f"t{number % 60}w{word + number // 60}" for word in range(30)) for number in range(300)]
    sketches = sketcher.sketches(known)
    together, alone = MinHashIndex(choose_bands(0.7, 128)), MinHashIndex(choose_bands(0.7, 128))
    found = [*together.take(sketches.part(0, 170)), *together.take(sketches.part(170, 300))]
    for sketch, nearest in zip(sketches, found, strict=True):
        assert nearest == alone.nearest(sketch)
        alone.add(sketch)
