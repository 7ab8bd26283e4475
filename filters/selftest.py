"""Does decontamination work? Canaries are planted beside clean text, and what each rule finds of them is counted.

A canary is an item of a reference as it may turn up in a data set: verbatim, embedded in other text, with case,
punctuation, Unicode form or letters altered, its first half, or with one word in ten replaced. All but verbatim and
short ones are planted inside other text. An item that is nothing but boilerplate counts only as a whole field, so it
is planted verbatim alone, and counted apart.
"""

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.normal_form import normal_words
from seedbed.filters.overlap_index import Rule
from seedbed.filters.references import SHORT_WORDS, Item, Reference

Row: TypeAlias = tuple[str, str, str]
_BATCH = 256


class Canary(StrEnum):
    """How an item is planted."""

    VERBATIM = "verbatim"
    EMBEDDED = "embedded"
    CASE = "case altered"
    PUNCTUATION = "punctuation altered"
    UNICODE = "Unicode altered"
    LOOK_ALIKES = "look-alike letters"
    FIRST_HALF = "first half"
    REPLACED_TO_20 = "1 word in 10 replaced, to 20 words"
    REPLACED_21_TO_35 = "1 word in 10 replaced, 21 to 35 words"
    REPLACED_FROM_36 = "1 word in 10 replaced, from 36 words"
    SHORT = "short, as a whole field"
    BOILERPLATE = "boilerplate, as a whole field"


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found of the canaries of one kind."""

    reference: str
    canary: Canary
    planted: int
    found: int
    """Refused by any rule."""
    by_rule: dict[str, int]
    """Refused by each rule, whatever the others say."""

    @property
    def share(self) -> float:
        return self.found / self.planted


@dataclass(frozen=True, slots=True)
class SelftestTable:
    """What the selftest measured."""

    recalls: tuple[Recall, ...]
    """By reference and kind; kinds that no item fits are left out."""
    clean_rows: int
    false_positives: int
    false_by_rule: dict[str, int]

    @property
    def false_positive_share(self) -> float:
        return self.false_positives / self.clean_rows if self.clean_rows else 0.0

    def recall(self, canary: Canary) -> float | None:
        """Return the share found over all references; None where none was planted."""
        planted = sum(one.planted for one in self.recalls if one.canary is canary)
        return sum(one.found for one in self.recalls if one.canary is canary) / planted if planted else None


def run_selftest(
    contamination: ContaminationFilter,
    references: Sequence[Reference],
    clean: Sequence[Row],
    *,
    seed: int = 0,
    most_items: int = 0,
) -> SelftestTable:
    """Plant canaries of references whose text is at hand, and count what is found.

    Args:
        contamination: The filter under test, which must know the references, by text or by digest.
        references: Where canaries are taken from.
        clean: Rows that overlap with nothing. Canaries are planted among their words; with none, among a few of ours.
        seed: Of the choice of words.
        most_items: Of each reference, a random sample of so many; 0: all.
    """
    rng = random.Random(seed)
    recalls = [
        recall
        for reference in references
        for recall in _recalls(contamination, _sample(reference, most_items, rng), clean, rng)
    ]
    rules = list(_rules(contamination, clean))
    return SelftestTable(tuple(recalls), len(clean), sum(1 for rule in rules if rule), _by_rule(rules))


def synthetic_reference(texts: Sequence[str], *, seed: int = 0, items: int = 200) -> Reference:
    """Make a benchmark that never was, from the words of texts: it proves the machinery where no text is at hand."""
    rng = random.Random(seed)
    vocabulary = sorted({word for text in texts for word in text.split()})
    made = []
    for row in range(1, items + 1):
        length = rng.choice((3, 5, 8, 15, 25, 40, 80))
        made.append(Item(row, " ".join(rng.choice(vocabulary) for _ in range(length)).capitalize() + "."))
    return Reference("synthetic", tuple(made), ("text",))


def _sample(reference: Reference, most: int, rng: random.Random) -> Reference:
    if not most or len(reference.items) <= most:
        return reference
    return Reference(reference.name, tuple(rng.sample(reference.items, most)), reference.fields)


def _recalls(
    contamination: ContaminationFilter, reference: Reference, clean: Sequence[Row], rng: random.Random
) -> Iterator[Recall]:
    planted: dict[Canary, list[Row]] = {canary: [] for canary in Canary}
    texts = [item.text for item in reference.items]
    kinds = [contamination.index.kind_of(text) for text in texts]
    for text, kind in zip(texts, kinds, strict=True):
        for canary, row in _canaries(text, kind, clean, rng):
            planted[canary].append(row)
    for canary, rows in planted.items():
        if rows:
            rules = list(_rules(contamination, rows))
            yield Recall(reference.name, canary, len(rows), sum(1 for rule in rules if rule), _by_rule(rules))


def _rules(contamination: ContaminationFilter, rows: Sequence[Row]) -> Iterator[Rule]:
    for first in range(0, len(rows), _BATCH):
        yield from contamination.rules_of(rows[first : first + _BATCH])


def _by_rule(found: Sequence[Rule]) -> dict[str, int]:
    counts = Counter(rule for rules in found for rule in rules)
    return {(rule.name or "").lower(): counts[rule] for rule in Rule}


def _canaries(text: str, kind: str, clean: Sequence[Row], rng: random.Random) -> Iterator[tuple[Canary, Row]]:
    count = len(normal_words(text))
    if count == 0:
        return
    if kind != "distinctive":
        yield (Canary.SHORT if count < SHORT_WORDS else Canary.BOILERPLATE), (text, "", _filler(clean, rng))
        return
    yield Canary.VERBATIM, (text, "", _filler(clean, rng))
    for canary, alter in _ALTERATIONS.items():
        yield canary, _planted(alter(text, rng), clean, rng)
    band = Canary.REPLACED_TO_20 if count <= 20 else Canary.REPLACED_21_TO_35
    yield (Canary.REPLACED_FROM_36 if count > 35 else band), _planted(_replaced(text, clean, rng), clean, rng)


def _planted(text: str, clean: Sequence[Row], rng: random.Random) -> Row:
    return "Do this:", f"{_filler(clean, rng)}\n{text}\n{_filler(clean, rng)}", "Done."


def _filler(clean: Sequence[Row], rng: random.Random) -> str:
    if not clean:
        return " ".join(rng.choices(_FILLER, k=12))
    words = " ".join(rng.choice(clean)).split()
    return " ".join(words[:25])


def _upper_or_title(text: str, rng: random.Random) -> str:
    return text.upper() if rng.random() < 0.5 else text.swapcase()


def _punctuated(text: str, rng: random.Random) -> str:
    """Take all punctuation out, or put other in its place and more between words."""
    if rng.random() < 0.5:
        return "".join(one for one in text if one.isalnum() or one.isspace())
    swapped = "".join(one if one.isalnum() or one.isspace() else rng.choice("-;!/") for one in text)
    return " ".join(word + rng.choice(("", ",", " --", "…")) for word in swapped.split())


def _recomposed(text: str, rng: random.Random) -> str:
    """Give text another Unicode form: decomposed, full width, bold, with invisible characters or odd spaces."""
    match rng.randrange(4):
        case 0:
            return unicodedata.normalize("NFD", text)
        case 1:
            return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)
        case 2:
            return "".join(chr(0x1D400 + ord(one) - 65) if "A" <= one <= "Z" else one for one in text)
        case _:
            return text.replace(" ", "\u00a0").replace("e", "e\u200b").replace("'", "\u2019")


def _look_alike(text: str, rng: random.Random) -> str:
    swaps = dict(zip("aeopcxyiABEHKMOPCTX", "аеорсхуіАВЕНКМОРСТХ", strict=True))
    return "".join(swaps.get(one, one) if rng.random() < 0.5 else one for one in text)


def _first_half(text: str, _: random.Random) -> str:
    words = text.split()
    return " ".join(words[: (len(words) + 1) // 2])


def _replaced(text: str, clean: Sequence[Row], rng: random.Random) -> str:
    """Replace one word in ten, chosen at random, and at least one."""
    spans = [match.span() for match in _WORD.finditer(text)]
    for begin, end in sorted(rng.sample(spans, max(1, len(spans) // 10)), reverse=True):
        text = text[:begin] + rng.choice(_filler(clean, rng).split() or ["other"]) + text[end:]
    return text


_ALTERATIONS: dict[Canary, Callable[[str, random.Random], str]] = {
    Canary.EMBEDDED: lambda text, _: text,
    Canary.CASE: _upper_or_title,
    Canary.PUNCTUATION: _punctuated,
    Canary.UNICODE: _recomposed,
    Canary.LOOK_ALIKES: _look_alike,
    Canary.FIRST_HALF: _first_half,
}
_FILLER = ("lantern", "quarry", "velvet", "harbour", "cinnamon", "meadow", "thimble", "orchard", "gravel", "saffron")
_WORD = re.compile(r"[^\W_]+")
