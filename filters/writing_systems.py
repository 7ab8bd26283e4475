"""Which script a text is written in."""

import unicodedata
from collections import Counter
from functools import lru_cache

from seedbed.core.errors import ConfigError
from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.filters.finding import Finding, excerpt

MIN_SHARE = 0.5
"""Share of an output's letters that must be in one of the wanted scripts."""

_FIRST_WORDS = {"CJK": "Han", "IDEOGRAPHIC": "Han", "KANGXI": "Han"}
_KNOWN = frozenset(
    (
        *("Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Syriac", "Thaana", "Ethiopic"),
        *("Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam"),
        *("Sinhala", "Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Mongolian", "Cherokee", "Yi"),
        *("Han", "Hiragana", "Katakana", "Bopomofo", "Hangul"),
    )
)


def check_scripts(scripts: tuple[str, ...]) -> None:
    """Refuse names of scripts that Seedbed cannot tell apart.

    Raises:
        ConfigError: A name is unknown.
    """
    for script in scripts:
        if script not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            raise ConfigError(f'filters.wellformed.scripts: unknown script "{script}"; known are {known}')


def wrong_script(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse an output that is mostly in other scripts than the config names."""
    if not config.scripts or ("Latin" in config.scripts and row.output.isascii()):
        return None
    counts = Counter(script_of(character) for character in row.output if character.isalpha())
    letters = counts.total()
    if not letters:
        return None
    share = sum(counts[script] for script in config.scripts) / letters
    if share >= MIN_SHARE:
        return None
    return Finding("wrong_script", excerpt(counts.most_common(1)[0][0]), score=share, threshold=MIN_SHARE)


@lru_cache(maxsize=65536)
def script_of(letter: str) -> str:
    """Name a letter's script as Unicode does ("Latin", "Han"), by its character name; "" where that has none."""
    first = unicodedata.name(letter, "").split(" ", 1)[0]
    script = _FIRST_WORDS.get(first, first.capitalize())
    return script if script in _KNOWN else ""
