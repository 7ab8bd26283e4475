"""Well-formedness: rows that are no rows, each refused by the first rule that fits, cheapest first."""

import re
from collections.abc import Sequence

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.core.refusals import finds_refusal
from seedbed.filters.answer_rules import (
    broken_characters,
    echo,
    empty_output,
    ends_with_colon,
    input_equals_output,
    too_long,
)
from seedbed.filters.beyond_text import blocklisted_word
from seedbed.filters.cut_text import cut_output
from seedbed.filters.finding import Finding, Rule, excerpt
from seedbed.filters.instruction_rules import (
    missing_input,
    starts_with_punctuation,
    too_few_words,
    too_many_words,
)
from seedbed.filters.leakage import assistant_preamble, placeholder, template_leak
from seedbed.filters.personal_data import secret_or_personal
from seedbed.filters.protocol import accept, refuse
from seedbed.filters.repetition import repetition
from seedbed.filters.writing_systems import check_scripts, wrong_script

NAME = "wellformed"


_ASKS_TO_DECLINE = re.compile(r"\b(?:declin|refus|apolog|reject|excuse|turn(?:s|ing)? down|sorry)", re.IGNORECASE)


def unexpected_refusal(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse an answer that refuses, where neither the category nor the instruction asks for one."""
    if (row.category or row.requested_category) in config.refusals_only_in:
        return None
    found = finds_refusal(row.output)
    if not found or _ASKS_TO_DECLINE.search(row.instruction):
        return None
    return Finding("unexpected_refusal", excerpt(found))


_INSTRUCTION_RULES: tuple[Rule, ...] = (
    too_long,
    broken_characters,
    too_few_words,
    too_many_words,
    starts_with_punctuation,
    template_leak,
    assistant_preamble,
    placeholder,
    blocklisted_word,
    repetition,
    secret_or_personal,
)
_ROW_RULES: tuple[Rule, ...] = (
    too_long,
    empty_output,
    broken_characters,
    too_few_words,
    too_many_words,
    input_equals_output,
    ends_with_colon,
    starts_with_punctuation,
    missing_input,
    echo,
    template_leak,
    assistant_preamble,
    placeholder,
    cut_output,
    blocklisted_word,
    wrong_script,
    unexpected_refusal,
    secret_or_personal,
    repetition,
)


class WellformedFilter:
    """Refuses rows by their form alone.

    Raises:
        ConfigError: A script named in the config is unknown.
    """

    name = NAME

    def __init__(self, config: WellformedConfig | None = None) -> None:
        self._config = config or WellformedConfig()
        check_scripts(self._config.scripts)

    def check(self, candidate: Candidate) -> Verdict:
        return _first(_ROW_RULES, candidate, self._config)


class InstructionFilter:
    """The same for a proposal, of which only the instruction exists yet."""

    name = NAME

    def __init__(self, config: WellformedConfig | None = None) -> None:
        self._config = config or WellformedConfig()

    def check(self, candidate: Candidate) -> Verdict:
        return _first(_INSTRUCTION_RULES, candidate, self._config)


_ACCEPTED = accept(NAME)


def _first(rules: Sequence[Rule], candidate: Candidate, config: WellformedConfig) -> Verdict:
    for rule in rules:
        found = rule(candidate, config)
        if found is not None:
            return _refusal(found)
    return _ACCEPTED


def _refusal(found: Finding) -> Verdict:
    evidence = (excerpt(found.evidence),) if found.evidence else ()
    return refuse(NAME, found.reason, score=found.score, threshold=found.threshold, evidence=evidence)
