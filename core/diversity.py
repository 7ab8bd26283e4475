"""How diverse rows are, as measured, and what is done where they are not enough so."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seedbed.core.section import Section, Share


class Collapse(StrEnum):
    """A way in which what the teacher writes loses its diversity: the named cause of an alarm."""

    REPEATED_WORDING = "repeated_wording"
    """Few different word pairs, or most rows near-duplicates of what is in."""
    FEW_VERBS = "few_verbs"
    """One opening word leads most instructions."""
    FEW_CATEGORIES = "few_categories"
    """The rows fall into fewer categories than were asked for."""
    DEEP_LINEAGE = "deep_lineage"
    """Rows are made from rows that were made from rows."""
    FALLING_ACCEPTANCE = "falling_acceptance"
    """Fewer and fewer of the rows are accepted."""


class DiversityConfig(Section):
    """When rows are told to be too alike, and what is done about it."""

    window: Annotated[int, Field(ge=40, le=5000)] = 200
    """The latest rows that are looked at, accepted and refused: what the teacher writes now."""
    min_distinct_2: Share = 0.35
    """Different word pairs of all; 200 of our seed tasks have 0.86."""
    max_near_duplicates: Share = 0.6
    """Share of the rows that the novelty and duplicate filters refuse."""
    max_leading_word: Share = 0.5
    """Share of the instructions that begin with one verb, or with one other word; of 200 seed tasks 0.07."""
    min_category_entropy: Share = 0.6
    """Entropy of the categories of the rows, as a part of that of the categories asked for in them."""
    max_mean_depth: Annotated[float, Field(ge=1)] = 4.0
    """Generations of machine-written rows behind a row, on average (Evol-Instruct stops after 4)."""
    min_acceptance_slope: Annotated[float, Field(ge=-1, le=0)] = -0.3
    """Acceptance in the newer half of the window minus that in the older one."""
    recovery: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """A measure has recovered when it is this part of its bound beyond it, so that nothing flickers."""
    react: bool = True
    """Let generation react: more seeds, a higher temperature, other recipes, shorter lineages. Off: alarms alone."""


class Measured(BaseModel):
    """The base of what is measured here; `core.records` builds on it, so it cannot take its base from there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Lengths(Measured):
    """How long one field is, in words."""

    median: float
    p10: float
    p90: float
    histogram: dict[str, int]
    """Rows by length: `0`, `1-2`, `3-4`, `5-8` and so on, each twice as wide as the one before."""


class Diversity(Measured):
    """What was measured over some rows."""

    rows: int
    categories: dict[str, int]
    """Rows by category, as verified, else as requested."""
    category_entropy: float
    """In bits."""
    category_evenness: float | None
    """That entropy as a part of the entropy of the categories asked for; None where only one was asked for."""
    distinct_1: float
    """Different words in the instructions, by all of them (Li et al. 2016)."""
    distinct_2: float
    similarity: dict[str, int]
    """Rows by ROUGE-L to their nearest neighbour when they were decided: `0.7` is 0.7 to below 0.8; `under` is where
    the filter measured nothing, since the nearest was farther than it looks."""
    near_duplicates: float
    """Share of the rows that were refused as like another one."""
    leading_words: dict[str, int]
    """Instructions by leading verb, or by first word where no verb of the lexicon leads; the commonest."""
    leading_share: float
    """Share of the commonest."""
    verb_nouns: dict[str, dict[str, int]]
    """Leading verb to the head of its object to rows; the commonest of each."""
    lengths: dict[str, Lengths]
    """`instruction`, `input` and `output`."""
    acceptance: float
    """Share of the rows that were accepted."""
    acceptance_slope: float
    """That of the newer half minus that of the older half."""
    mean_depth: float
    max_depth: int


class Reaction(Measured):
    """What generation does otherwise while a collapse lasts."""

    cause: Collapse
    reason: str
    """What was measured, against which bound."""
    changes: str
    """What is asked otherwise."""
