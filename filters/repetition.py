"""Degenerate repetition: a model caught in a loop.

Gopher (Rae et al. 2021, table A1) drops web pages by the share of text in repeated lines and n-grams. Instruction
data are shorter and hold tables, code and verse, so two measures are taken here that a loop meets and those do not:
the share of characters in repeated lines, and the longest stretch of words that repeats with one period.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.core.text import words
from seedbed.filters.finding import Finding, between_blanks, excerpt, longest_run

MAX_LINE_SHARE = 0.5
"""Share of characters in lines that stand there already (Gopher: 0.2 for web pages)."""
MAX_LOOP_SHARE = 0.4
"""Share of the words in one stretch that repeats itself."""
_MIN_LOOP_WORDS = 16
_MIN_ROUNDS = 4
_MIN_WORDS = 24
_MIN_RUN = 30
_MAX_DISTINCT = 1 - MAX_LOOP_SHARE * (1 - 1 / _MIN_ROUNDS)
"""Share of distinct words, and of distinct trigrams, that a text with so long a loop can have at most."""
_RUN = re.compile(r"([^\W\d_])\1{29,}|([^\s\w=*#~+.-])\2{59,}")
_ASKED_FOR = re.compile(r"\b(?:repeat(?:ed|ing|s)?|times|over and over|pattern|grid|table)\b", re.IGNORECASE)


def repetition(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an output, input or instruction that repeats itself, unless the instruction asks for it."""
    for text in (row.output, row.instruction, row.input):
        if len(text) < _MIN_RUN:
            continue
        found = _character_run(text) or _repeated_lines(text) or _loop(text)
        if found and not _ASKED_FOR.search(row.instruction):
            return found
    return None


def _character_run(text: str) -> Finding | None:
    if longest_run(text) < _MIN_RUN:
        return None
    found = _RUN.search(text)
    return Finding("repetition", excerpt(found.group()[:40])) if found else None


def _repeated_lines(text: str) -> Finding | None:
    if text.count("\n") < 5:
        return None
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if len(line) >= 12]
    if len(set(lines)) > len(lines) / 2:
        return None
    counts = Counter(lines)
    total = sum(map(len, lines))
    share = sum(len(line) * (count - 1) for line, count in counts.items()) / total if total else 0.0
    if share <= MAX_LINE_SHARE:
        return None
    return Finding("repetition", excerpt(counts.most_common(1)[0][0]), score=share, threshold=MAX_LINE_SHARE)


def _loop(text: str) -> Finding | None:
    tokens = between_blanks(text) if text.isascii() else words(text)
    most = len(tokens) * _MAX_DISTINCT
    if len(tokens) < _MIN_WORDS or len(set(tokens)) > most or len(set(_trigrams(tokens))) > most:
        return None
    stretch = longest_stretch(tokens)
    share = len(stretch) / len(tokens)
    if share <= MAX_LOOP_SHARE:
        return None
    return Finding("repetition", excerpt(" ".join(stretch)), score=share, threshold=MAX_LOOP_SHARE)


def longest_stretch(tokens: Sequence[str]) -> Sequence[str]:
    """Find the longest run of tokens that goes round at least four times with one period."""
    best: Sequence[str] = ()
    for start, period in _suspects(tokens):
        end = start + period
        while end < len(tokens) and tokens[end] == tokens[end - period]:
            end += 1
        if end - start >= max(_MIN_ROUNDS * period, _MIN_LOOP_WORDS) and end - start > len(best):
            best = tokens[start:end]
    return best


def _suspects(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return where a trigram comes back and after how many tokens: one per trigram and period, at its first place."""
    last: dict[tuple[str, str, str], int] = {}
    rounds: Counter[tuple[tuple[str, str, str], int]] = Counter()
    starts: dict[tuple[tuple[str, str, str], int], int] = {}
    for place, gram in enumerate(_trigrams(tokens)):
        if gram in last:
            key = (gram, place - last[gram])
            rounds[key] += 1
            starts.setdefault(key, last[gram])
        last[gram] = place
    return [(starts[key], key[1]) for key, count in rounds.items() if count >= _MIN_ROUNDS - 2]


def _trigrams(tokens: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return zip(tokens, tokens[1:], tokens[2:], strict=False)
