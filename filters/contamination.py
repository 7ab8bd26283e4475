"""Refuses rows that overlap with a benchmark: the digests that come with Seedbed, and the user's own references.

Four rules, over instruction, input and output, alone and joined; the first that holds gives the reason:

* `equal_item`: an item equals a field, or fields joined, after normalisation (`normal_form`);
* `embedded_item`: an item of at least `min_item_words` words stands whole in the text, whatever the spaces and
  punctuation inside; shorter ones ("dresser") count only as a whole field;
* `shared_ngram`: any shared 13-gram of words (GPT-3, lm-eval);
* `covered_item`: at least half of an item's words lie in 8-grams shared with the row (Tülu 3).

n-grams that stand in many items are boilerplate and condemn nothing ("which of the following statements is"), and an
item that stands in many others counts only as a whole field. An item's coverage is at most twice the coverage of its
words outside boilerplate, so shared boilerplate alone covers nothing, and an item that is mostly boilerplate is still
found with a word in ten replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.core.errors import ConfigError
from seedbed.core.filter_config import ContaminationConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.filters.digest import GRAM_WORDS, digest_of, read_digests
from seedbed.filters.normal_form import normal_words
from seedbed.filters.overlap_index import Overlap, OverlapIndex, Rule
from seedbed.filters.protocol import accept, refuse
from seedbed.filters.references import Reference, read_references

NAME = "contamination"
MOST_EVIDENCE = 5
"""Stretches of overlapping words in a verdict, the longest first."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a refusal says."""

    item: int
    score: float
    threshold: float
    evidence: tuple[str, ...]


class ContaminationFilter:
    """Refuses what overlaps with an item of a reference. It remembers nothing.

    Args:
        config: The rules' settings.
        references: Files and folders of the user's own, read at once.
        fields: The fields of those files that hold items; empty: see `references`.
        loaded: References that are already read, beside those.

    Raises:
        ConfigError: The lengths of n-grams do not go together, or not with the digests.
        InputError: A reference or a digest cannot be read.
    """

    name = NAME

    def __init__(
        self,
        config: ContaminationConfig | None = None,
        *,
        references: Sequence[Path] = (),
        fields: Sequence[str] = (),
        loaded: Sequence[Reference] = (),
    ) -> None:
        self._config = config = config or ContaminationConfig()
        _check(config)
        own = [one for path in references for one in read_references(path, fields)]
        digests = read_digests() if config.digests else []
        digests += [digest_of(reference, config.coverage_ngram) for reference in (*own, *loaded)]
        self.index = OverlapIndex(digests, config)
        self._clean = accept(NAME, score=0.0, threshold=config.coverage)

    def check(self, candidate: Candidate) -> Verdict:
        return self.check_many([candidate])[0]

    def check_many(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Check many candidates in one call of the kernels."""
        rows = [(one.instruction, one.input, one.output) for one in candidates]
        overlaps = self.index.overlaps(rows)
        return [self._verdict(row, overlap) for row, overlap in zip(rows, overlaps, strict=True)]

    def rules_of(self, rows: Sequence[tuple[str, str, str]]) -> list[Rule]:
        """Return, for rows of (instruction, input, output), every rule that condemns each."""
        return [overlap.rules(self._config.coverage) for overlap in self.index.overlaps(rows)]

    def warm(self) -> None:
        """Compile the kernels, or load them from their cache."""
        self.index.overlaps([("one", "two", "three")])

    def _verdict(self, row: tuple[str, str, str], overlap: Overlap) -> Verdict:
        rules = overlap.rules(self._config.coverage)
        if not rules and overlap.covered < 0:
            return self._clean
        if not rules:
            neighbour = self.index.name_of(overlap.covered) if overlap.covered >= 0 else None
            return accept(NAME, score=overlap.coverage, threshold=self._config.coverage, neighbour_id=neighbour)
        rule = next(rule for rule in Rule if rule in rules)
        finding = self._finding(rule, row, overlap)
        return refuse(
            NAME,
            (rule.name or "").lower(),
            score=finding.score,
            threshold=finding.threshold,
            neighbour_id=self.index.name_of(finding.item),
            evidence=finding.evidence,
        )

    def _finding(self, rule: Rule, row: tuple[str, str, str], overlap: Overlap) -> _Finding:
        match rule:
            case Rule.EQUAL_ITEM:
                return _Finding(overlap.equal, 1.0, 1.0, _words(row, overlap.equal_span))
            case Rule.EMBEDDED_ITEM:
                return _Finding(overlap.embedded, 1.0, 1.0, _words(row, overlap.embedded_span))
            case Rule.SHARED_NGRAM:
                words = _words(row, overlap.shared_span)
                return _Finding(overlap.shared, overlap.shared_words, self._config.ngram, words)
            case _:
                stretches = self.index.shared_stretches(row, overlap.covered)
                longest = sorted(stretches, key=len, reverse=True)[:MOST_EVIDENCE]
                return _Finding(overlap.covered, overlap.coverage, self._config.coverage, tuple(longest))


def _words(row: tuple[str, str, str], span: tuple[int, int]) -> tuple[str, ...]:
    words = [word for field in row for word in normal_words(field)]
    return (" ".join(words[span[0] : span[1]]),)


def _check(config: ContaminationConfig) -> None:
    if config.ngram < config.coverage_ngram:
        raise ConfigError(
            f"filters.contamination.ngram must be at least coverage_ngram ({config.coverage_ngram}), got {config.ngram}"
        )
    if config.digests and config.coverage_ngram != GRAM_WORDS:
        raise ConfigError(
            f"filters.contamination.coverage_ngram must be {GRAM_WORDS} with the digests, which hold hashed "
            f"{GRAM_WORDS}-grams, got {config.coverage_ngram}; set digests = false to measure others"
        )
