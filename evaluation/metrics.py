"""How one answer is scored: exact match for labels and short references, ROUGE-L otherwise."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from seedbed.core.text import words

SHORT_REFERENCE_WORDS = 3
"""References up to here are labels or spans, which ROUGE-L cannot grade: half a label is no answer."""

_ARTICLES = frozenset(("a", "an", "the"))
# A comma that groups digits goes, as all punctuation does; a point between digits and a sign before one are kept,
# because 1.5 is not 15 and -5 is not 5. (SQuAD's script drops both.)
_POINT_OR_SIGN = re.compile(r"(?<![^\s(])-?\.?(?=\d)|(?<=\d)\.(?=\d)")
_KEPT = str.maketrans({".": "\ue000", "-": "\ue001"})
_GIVEN_BACK = str.maketrans({"\ue000": ".", "\ue001": "-"})


@dataclass(frozen=True, slots=True)
class Score:
    """What one answer is worth. One of the marks is not None: a row is scored one way, the same in every arm."""

    exact_match: float | None
    """1 or 0."""
    rouge_l: float | None
    """F-measure, 0 to 1."""
    followed: float | None = None
    """1 where all checks of a row without references hold, strictly, else 0."""

    @property
    def value(self) -> float:
        return next((mark for mark in (self.exact_match, self.rouge_l, self.followed) if mark is not None), 0.0)


def score(answer: str, references: Sequence[str], *, is_classification: bool = False) -> Score:
    """Score an answer by the reference that it comes nearest to."""
    if is_classification or is_short(references):
        return Score(exact_match(answer, references), None)
    return Score(None, rouge_l(answer, references))


def is_short(references: Sequence[str]) -> bool:
    """Tell references that are labels or spans, every one of `SHORT_REFERENCE_WORDS` words or fewer."""
    return all(len(words(reference)) <= SHORT_REFERENCE_WORDS for reference in references)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1.0 where the normalised answer is one of the normalised references, else 0.0. Silence is never right."""
    found = normalised(answer)
    return float(found != "" and found in {normalised(reference) for reference in references})


def normalised(text: str) -> str:
    """Reduce text as SQuAD's evaluation script does: case, punctuation, the articles a, an, the, and white space.

    Beyond it: Unicode forms are unified (NFKC), all Unicode punctuation counts, numbers keep their point and sign, and
    articles or punctuation stay where nothing else would be left, since "A" and "!" are labels.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    text = _POINT_OR_SIGN.sub(lambda found: found.group().translate(_KEPT), text)
    bare = "".join(character for character in text if not unicodedata.category(character).startswith("P"))
    found = (bare.strip() or text).translate(_GIVEN_BACK).split()
    return " ".join([word for word in found if word not in _ARTICLES] or found)


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Return the greatest ROUGE-L F-measure over the references.

    Computed by `rouge_score` without stemming. Its own tokenizer drops all but [a-z0-9], so an answer in another script
    would score 0 however good it is; `core.text.words` takes its place, which equals it on ASCII text.
    """
    scorer = _scorer()
    return max((float(scorer.score(reference, answer)["rougeL"].fmeasure) for reference in references), default=0.0)


class _Words(Tokenizer):  # type: ignore[misc]
    """The tokenizer of `core.text`, as rouge_score wants it."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@lru_cache(maxsize=1)
def _scorer() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words())
