"""Held-out tasks must not be learned: texts and categories are kept out of the pool, and looked for at the freeze."""

from collections.abc import Iterable, Iterator, Sequence

from seedbed.core.errors import LeakError
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate, Example, Lineage, Verdict
from seedbed.evaluation.tasks import read_set
from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.references import Item, Reference
from seedbed.filters.rouge import RougeIndex
from seedbed.service.checking import held_out_category
from seedbed.service.workspace import Workspace

BATCH_ROWS = 256
SHOWN = 3


def held_out_references(workspace: Workspace) -> tuple[Reference, ...]:
    """Return the questions of the held-out seeds and of the user's evaluation sets, never their answers.

    A text that stands in several rows, such as a task's definition, is one item.
    """
    seeds = [
        (number, text)
        for number, seed in enumerate(workspace.seeds, 1)
        if seed.category in workspace.held_out
        for text in (seed.instruction, seed.input)
    ]
    references = [Reference("held_out_seeds", _items(seeds))]
    most = workspace.config.evaluation.max_rows_per_task
    for path in workspace.evaluation_sets():
        rows = enumerate(read_set(path, most), 1)
        texts = ((number, text) for number, row in rows for text in (row.instruction, row.input))
        references.append(Reference(path.stem, _items(texts)))
    return tuple(references)


def _items(texts: Iterable[tuple[int, str]]) -> tuple[Item, ...]:
    first: dict[str, int] = {}
    for number, text in texts:
        if text.strip():
            first.setdefault(text, number)
    return tuple(Item(number, text) for text, number in first.items())


class LeakCheck:
    """The last look at a snapshot.

    No row near a held-out instruction, none that overlaps a held-out text, none that looks like a held-out category.
    """

    def __init__(self, workspace: Workspace) -> None:
        filters: FiltersConfig = workspace.config.filters
        without_digests = filters.contamination.model_copy(update={"digests": False})
        self._overlap = ContaminationFilter(without_digests, loaded=held_out_references(workspace))
        rouge = filters.rouge
        self._near = RougeIndex(threshold=rouge.threshold, operator=rouge.operator, tokenizer=rouge.tokenizer)
        self._near.load((seed.id, seed.instruction) for seed in workspace.held_out_seeds)
        self._held_out, self._category_of = frozenset(workspace.held_out), held_out_category(workspace)

    def __call__(self, examples: Sequence[Example]) -> None:
        """Raise where a row leaks.

        Raises:
            LeakError: It names the first rows and what they overlap with.
        """
        leaks = [
            leak for start in range(0, len(examples), BATCH_ROWS) for leak in self._leaks(examples[start:][:BATCH_ROWS])
        ]
        if leaks:
            more = f" (and {len(leaks) - SHOWN} more)" if len(leaks) > SHOWN else ""
            raise LeakError(
                f"{len(leaks)} of {len(examples)} rows leak held-out tasks: {'; '.join(leaks[:SHOWN])}{more}; "
                "`seedbed refilter` refuses what no person accepted; refuse the others by hand, or take the category "
                "out of the held-out ones"
            )

    def _leaks(self, examples: Sequence[Example]) -> Iterator[str]:
        candidates = [_candidate(example) for example in examples]
        overlaps = self._overlap.check_many(candidates)
        near = self._near.decide_batch([example.instruction for example in examples])
        looks = [self._category_of(one) if self._category_of else "" for one in candidates]
        for example, overlap, match, category in zip(examples, overlaps, near, looks, strict=True):
            if not overlap.accepted:
                yield f"row {example.id[:12]} by {_said(overlap)}"
            elif match is not None:
                yield f"row {example.id[:12]} by rouge {match.score:.2f} to {match.key}"
            elif category in self._held_out:
                yield f"row {example.id[:12]} looks like {category}"


def _candidate(example: Example) -> Candidate:
    lineage, category = Lineage(recipe="snapshot"), example.category
    return Candidate.of(example.instruction, example.input, example.output, lineage=lineage, category=category)


def _said(verdict: Verdict) -> str:
    return f"{verdict.reason} with {verdict.neighbour_id} ({' '.join(verdict.evidence)[:60]})"
