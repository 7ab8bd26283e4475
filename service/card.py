"""The card of an exported data set: front matter as the Hugging Face hub reads it, and the figures of the pool."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from seedbed.core.records import Snapshot
from seedbed.pool.pool import Pool
from seedbed.service.cost import cost_cells
from seedbed.service.export import PARQUET_COLUMNS
from seedbed.service.figures import UNKNOWN_LICENCE, Figures, figures_of
from seedbed.service.workspace import Workspace

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = "1M<n<10M"
MEANINGS = {
    "id": "hash of the three texts",
    "task_id": "rows of one instruction share it; a task is in one split only",
    "category": "of the task, as verified",
    "instruction": "what is asked",
    "input": "what it is about; empty where the instruction says everything",
    "output": "the answer",
    "recipe": "how the row was made",
    "model": "what wrote it",
}


def card_text(workspace: Workspace, pool: Pool, snapshot: Snapshot, splits: dict[str, int], name: str) -> str:
    """Write the card of a snapshot's export.

    Args:
        workspace: Whose settings and seeds.
        pool: Whose figures.
        snapshot: What is exported.
        splits: Rows written, by split.
        name: Of the data set.
    """
    figures = figures_of(workspace, pool)
    return "\n".join([*_front_matter(figures, splits, name), "", *_body(figures, snapshot, splits, name), ""])


def _front_matter(figures: Figures, splits: dict[str, int], name: str) -> Iterator[str]:
    licences = {teacher.licence for teacher in figures.teachers}
    licence = licences.pop() if len(licences) == 1 else "other"
    rows = sum(splits.values())
    yield "---"
    yield f"pretty_name: {json.dumps(name)}"
    yield f"license: {json.dumps('unknown' if licence == UNKNOWN_LICENCE else licence)}"
    yield "task_categories:\n- text-generation"
    yield "tags:\n- synthetic\n- instruction-tuning\n- seedbed"
    yield f"size_categories:\n- {json.dumps(next((size for limit, size in SIZES if rows < limit), LARGER))}"
    yield "configs:\n- config_name: default\n  data_files:"
    for split in splits:
        yield f"  - split: {split}\n    path: data/{split}.parquet"
    yield "dataset_info:\n  features:"
    yield from (f"  - name: {column}\n    dtype: string" for column in PARQUET_COLUMNS)
    yield "  splits:"
    yield from (f"  - name: {split}\n    num_examples: {count}" for split, count in splits.items())
    yield "---"


def _body(figures: Figures, snapshot: Snapshot, splits: dict[str, int], name: str) -> Iterator[str]:
    made, frozen = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (figures.made_at, snapshot.created_at))
    rows = ", ".join(f"{count} {split}" for split, count in splits.items())
    yield f"# {plain(name)}"
    yield ""
    yield (
        f"{rows} rows: instruction, input and output, written by a model and filtered by Seedbed "
        f"{figures.seedbed_version}. Frozen {frozen} as snapshot `{snapshot.id}`, exported {made}. Nobody has read "
        "every row: a filter tells duplicates, benchmark text and broken form, not whether an answer is right."
    )
    yield from _section("Columns", ("column", "meaning"), MEANINGS.items())
    teachers = [
        (one.model, one.endpoint, one.licence, one.terms or "not given", one.requests) for one in figures.teachers
    ]
    yield from _section("Who wrote the rows", ("model", "endpoint", "licence", "terms", "answers"), teachers)
    yield ""
    yield (
        "The licence is the model's. What its provider lets you do with texts that it wrote, such as training another "
        "model, is for its terms to say."
    )
    yield from _seeds(figures)
    yield from _figures(figures)
    yield from _rows_of(snapshot)


def _seeds(figures: Figures) -> Iterator[str]:
    seeds = figures.seeds
    yield from ("", "## Seeds", "")
    yield (
        f"{seeds.tasks} seed tasks in {len(seeds.categories)} categories ({plain(seeds.file)}, SHA-256 "
        f"`{seeds.sha256}`): {seeds.provenance}. Never shown to the model, and kept out of these rows: the held-out "
        f"categories {', '.join(map(plain, seeds.held_out)) or '(none)'}."
    )


def _figures(figures: Figures) -> Iterator[str]:
    funnel, spent = figures.funnel, figures.spent
    yield from ("", "## The whole pool", "")
    yield (
        f"Of {funnel.decided} candidates {funnel.accepted} were accepted; {spent.requests} answers took "
        f"{spent.prompt_tokens} prompt and {spent.completion_tokens} completion tokens"
        f"{f' and cost {spent.cost:.4f}' if spent.cost else ''}. What was exported is a part of it."
    )
    reasons = ((one.filter, reason, rows) for one in funnel.stages for reason, rows in one.reasons.items())
    yield from _section("Refused, by filter and reason", ("filter", "reason", "rows"), reasons)
    shares = (
        (one.category, one.accepted, f"{one.share:.1%}", "" if one.target is None else f"{one.target:.1%}")
        for one in figures.spread.categories
        if one.accepted or one.target
    )
    yield from _section("Categories", ("category", "accepted", "share", "target"), shares)
    costs = ((name, one.accepted, *cost_cells(one)) for name, one in figures.costs_by_category.items())
    yield from _section("Cost of an accepted row", ("category", "accepted", "tokens", "money"), costs)
    checks = ((name, one.rows, one.wrong, f"{one.share_wrong:.0%}") for name, one in figures.checks.items())
    yield from _section("Checked answers, refused ones included", ("check", "checked", "wrong", "share"), checks)
    recalls = ((one["reference"], one["canary"], one["planted"], one["found"]) for one in figures.selftest["recalls"])
    yield from _section("Decontamination selftest", ("reference", "canary", "planted", "found"), recalls)
    yield ""
    yield (
        f"False positives: {figures.selftest['false_positives']} of {figures.selftest['clean_rows']} clean rows. "
        f"{'The reference was made of seed tasks. ' if figures.selftest['is_synthetic'] else ''}"
    )
    yield from _diversity(figures)


def _diversity(figures: Figures) -> Iterator[str]:
    found = figures.diversity
    if found is None:
        return
    yield from ("", "## Diversity", "")
    yield (
        f"Of {found.rows} accepted rows drawn at random: {found.category_entropy:.2f} bits of category, "
        f"{found.distinct_2:.2f} of the word pairs in instructions different, lineage depth {found.mean_depth:.1f}."
    )
    verbs = (
        (verb, sum(nouns.values()), ", ".join(f"{noun} {count}" for noun, count in nouns.items()))
        for verb, nouns in found.verb_nouns.items()
    )
    yield from _section("Leading verbs and what they ask for", ("verb", "rows", "objects"), verbs)
    lengths = ((name, one.p10, one.median, one.p90) for name, one in found.lengths.items())
    yield from _section("Words", ("field", "10% have at most", "median", "90% have at most"), lengths)


def _rows_of(snapshot: Snapshot) -> Iterator[str]:
    yield from _section("Rows of the snapshot by category", ("category", "rows"), snapshot.categories.items())


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    lines = ["| " + " | ".join(plain(str(cell)) for cell in row) + " |" for row in rows]
    if lines:
        yield from ("", f"## {title}", "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *lines)


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>|#!$~" else char for char in flat)
