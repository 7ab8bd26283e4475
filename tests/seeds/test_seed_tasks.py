"""What the packaged seed tasks promise."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import SeedTask
from seedbed.core.text import folded, words
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, check_seed_tasks, load_categories, load_seed_tasks

SHARED = Path(__file__).parents[2].parent / "shared/data"
BENCHMARKS = [*sorted(SHARED.glob("benchmarks/*.jsonl")), *sorted(SHARED.glob("evaluation/*.jsonl"))]
CATEGORIES = load_categories(PACKAGED_CATEGORIES)
TASKS = load_seed_tasks(PACKAGED_TASKS, CATEGORIES)
SHARED_WORDS = 8  # the n-gram of Tülu 3's rule, here for a single hit


def test_nothing_is_wrong_with_the_packaged_tasks() -> None:
    assert check_seed_tasks(PACKAGED_TASKS, CATEGORIES) == []


def test_there_are_210_tasks_in_at_least_15_categories() -> None:
    assert len(TASKS) >= 210
    assert {task.category for task in TASKS} == set(CATEGORIES.names)
    assert len(CATEGORIES.names) >= 15


def test_an_id_is_its_category_and_a_running_number() -> None:
    counts: Counter[str] = Counter()
    for task in TASKS:
        counts[task.category] += 1
        assert task.id == f"{task.category}-{counts[task.category]:03d}"


def test_no_category_is_thin_or_swells() -> None:
    counts = Counter(task.category for task in TASKS)
    assert min(counts.values()) >= 10
    assert max(counts.values()) <= len(TASKS) / 8


def test_held_out_categories_have_enough_to_evaluate_with() -> None:
    counts = Counter(task.category for task in TASKS)
    held_out = [counts[category.name] for category in CATEGORIES.held_out]
    assert len(held_out) >= 2
    assert min(held_out) >= 12
    assert sum(held_out) >= 30


def test_safety_has_the_share_that_the_field_found_enough() -> None:
    assert CATEGORIES.shares()["safety"] == 0.03


def test_safety_tasks_are_answered_at_least_as_often_as_refused() -> None:
    outputs = [task.output for task in TASKS if task.category == "safety"]
    refusals = [text for text in outputs if re.search(r"\bI (won't|can't)\b|\bI'd rather not\b", text)]
    assert 5 <= len(refusals) <= len(outputs) / 2
    assert all(re.search(r"\bI can also|\bI can help|\bcan help\b|instead|please", text) for text in refusals)


def test_about_a_third_has_no_input() -> None:
    share = sum(not task.input for task in TASKS) / len(TASKS)
    assert 0.28 <= share <= 0.40


def test_about_a_seventh_is_classification() -> None:
    share = sum(task.is_classification for task in TASKS) / len(TASKS)
    assert 0.11 <= share <= 0.19


def test_every_difficulty_occurs() -> None:
    counts = Counter(task.difficulty for task in TASKS)
    assert min(counts[level] for level in ("easy", "medium", "hard")) >= len(TASKS) / 20


def test_most_tasks_are_short_enough_to_demonstrate() -> None:
    assert sum(len(task.instruction.split()) <= 25 for task in TASKS) >= 0.8 * len(TASKS)
    assert sum(len(task.output.split()) <= 80 for task in TASKS) >= 0.9 * len(TASKS)


def test_no_leading_word_dominates() -> None:
    leading = Counter(words(task.instruction)[0] for task in TASKS)
    assert max(leading.values()) <= len(TASKS) / 10
    assert len(leading) >= 60


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_task_would_pass_its_own_filters(task: SeedTask) -> None:
    limits = WellformedConfig()
    assert limits.min_instruction_words <= len(task.instruction.split()) <= limits.max_instruction_words
    spaced = f" {' '.join(words(task.instruction))} "
    assert not [word for word in limits.blocklist if f" {word} " in spaced]
    assert task.input != task.output
    assert not task.output.endswith(":")
    assert task.instruction == task.instruction.strip()
    assert task.output == task.output.strip()


def test_no_two_instructions_are_near_duplicates() -> None:
    scorer = RougeScorer(["rougeL"])
    near = [
        (first.id, second.id)
        for first, second in itertools.combinations(TASKS, 2)
        if scorer.score(first.instruction, second.instruction)["rougeL"].fmeasure > 0.7
    ]
    assert near == []


def test_no_input_and_no_long_output_stands_twice() -> None:
    inputs = Counter(folded(task.input) for task in TASKS if task.input)
    outputs = Counter(folded(task.output) for task in TASKS if len(task.output.split()) > 3)
    assert [text for text, count in (inputs + outputs).items() if count > 1] == []


def test_trained_tasks_share_no_text_with_held_out_ones() -> None:
    held_out = {category.name for category in CATEGORIES.held_out}
    ngrams: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    for task in TASKS:
        for text in (task.instruction, task.input, task.output):
            ngrams[task.category in held_out] |= _ngrams(text)
    assert ngrams[True] & ngrams[False] == set()
    assert not [task.id for task in TASKS if task.category not in held_out and "translat" in task.instruction.lower()]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _ngrams(text: str) -> set[tuple[str, ...]]:
    tokens = words(text)
    return {tuple(tokens[start : start + SHARED_WORDS]) for start in range(len(tokens) - SHARED_WORDS + 1)}


@pytest.mark.skipif(not BENCHMARKS, reason=f"there are no benchmarks in {SHARED}")
def test_no_task_overlaps_with_a_benchmark() -> None:
    fields = [(task.id, text) for task in TASKS for text in (task.instruction, task.input, task.output)]
    ours = {ngram: task_id for task_id, text in fields for ngram in _ngrams(text)}
    # Short answers such as "yes" are in every benchmark; from five words on, equality means the same item.
    whole = {folded(text): task_id for task_id, text in fields if len(words(text)) >= 5}
    hits = set()
    for path in BENCHMARKS:
        for line in path.read_text(encoding="utf-8").strip().split("\n"):
            for text in _texts(json.loads(line)):
                hits |= {(ours[ngram], path.name, " ".join(ngram)) for ngram in _ngrams(text) & ours.keys()}
                if folded(text) in whole:
                    hits.add((whole[folded(text)], path.name, text))
    assert sorted(hits) == []
