"""Finding JSON values and labelled blocks in what a model wrote, whole or not. Pure, bounded, never raises."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_CHARACTERS = 400_000
"""Longer completions are read so far; no row is anywhere near it, and scanning stays linear in practice."""

MAX_DEPTH = 40
"""Of a value: what is nested deeper is taken as broken; rows are two or three deep."""

MAX_FAILED_STARTS = 200
"""Brackets that begin no JSON value before the rest of a text is taken as broken."""

_DECODER = json.JSONDecoder(strict=False)
_OPENING = re.compile(r"[{\[]")
# Possessive (`*+`) where two repetitions may take the same characters: a text of nothing but these would else be tried
# in every division of it.
_WRAPPING = re.compile(r'[\s,{}\[\]]*+(?:"\w+"\s*+:)?[\s{\[]*+')
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FENCE = re.compile(r"```\w*")
_SEPARATOR = re.compile(r"^[ \t]*#{2,}[ \t]*$")


@dataclass(slots=True)
class JsonPieces:
    """What JSON a text holds."""

    values: list[Any] = field(default_factory=list)
    """The wanted values, in order."""
    broken: list[str] = field(default_factory=list)
    """Stretches that look like the beginnings of wanted values and are none."""


def json_pieces(text: str, is_wanted: Callable[[Any], bool]) -> JsonPieces:
    """Collect the outermost JSON values that are wanted; where some are broken, mend the usual slips and try again.

    The slips are a comma before a closing bracket and a backslash before a character that needs none.
    """
    text = text[:MAX_CHARACTERS]
    found = _scan(text, is_wanted)
    if not found.broken:
        return found
    mended = _scan(_TRAILING_COMMA.sub(r"\1", _ESCAPE.sub(_legal_escape, text)), is_wanted)
    return mended if len(mended.broken) < len(found.broken) else found


def _scan(text: str, is_wanted: Callable[[Any], bool]) -> JsonPieces:
    found = JsonPieces()
    opening = _OPENING.search(text)
    gap_start = position = opening.start() if opening else len(text)
    failures = 0
    while failures < MAX_FAILED_STARTS and (opening := _OPENING.search(text, position)):
        position = opening.start() + 1
        try:
            value, end = _DECODER.raw_decode(text, opening.start())
            is_broken = _is_deeper(value, MAX_DEPTH)
        except (ValueError, RecursionError):
            is_broken = True
        if is_broken:
            failures += 1
            continue
        if is_wanted(value):
            _keep_broken(text[gap_start : opening.start()], found)
            found.values.append(value)
            gap_start = end
        position = end
    _keep_broken(text[gap_start:], found)
    return found


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(one, depth - 1) for one in inner)


def _keep_broken(gap: str, found: JsonPieces) -> None:
    rest = _FENCE.sub("", gap)
    if '"' in rest and not _WRAPPING.fullmatch(rest):
        found.broken.append(gap.strip(" \t\r\n,"))


def _legal_escape(match: re.Match[str]) -> str:
    return match[0] if match[1] in '"\\/bfnrtu' else "\\" + match[0]


@dataclass(slots=True)
class Block:
    """Labelled lines that belong together: `Instruction: …`, `Input: …`, `Output: …`."""

    parts: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each field; the last time a label stood is what counts."""
    lines: list[str] = field(default_factory=list)
    """The block as it stood."""
    is_repeating: bool = False
    """A label stood twice, or after the label that ends a block, so it is unclear what belongs where."""

    @property
    def fields(self) -> dict[str, str]:
        return {name: "\n".join(lines) for name, lines in self.parts.items()}

    @property
    def raw(self) -> str:
        return "\n".join(self.lines).strip()


def labelled_blocks(text: str, names: Mapping[str, Sequence[str]], first: str) -> list[Block]:
    """Split a text at labels that begin a line, and into blocks at each `first` label and at each line of `###`.

    Args:
        text: What the model wrote.
        names: Field to the words it may be called, best first; the first one that stands in the text holds for
            the whole text, so that "Answer:" is a part of the output where "Output:" is the label. A word that
            loses to a better one for `first` ("Task 3:" above "Instruction:") separates blocks.
        first: The field that begins a block; empty: any field that the block already has does.

    Returns:
        The blocks. Text before the first label or separator is dropped: it is the model's preamble.
    """
    pattern = _label_pattern("|".join(word for words in names.values() for word in words))
    lines = text[:MAX_CHARACTERS].replace("\r\n", "\n").split("\n")
    labels = _labels(lines, pattern, names)
    headers = {word for word in names.get(first, ()) if labels.get(word) != first}
    blocks: list[Block] = []
    current = ""
    for line in lines:
        match = pattern.match(line)
        word = match["word"].lower() if match else ""
        if _SEPARATOR.match(line) or word in headers:
            blocks.append(Block())
            current = ""
        elif match and word in labels:
            current = _open_field(blocks, labels[word], first)
            blocks[-1].lines.append(line)
            blocks[-1].parts[current] = [match["rest"]]
        elif blocks:
            blocks[-1].lines.append(line)
            if current:
                blocks[-1].parts[current].append(line)
    return [block for block in blocks if block.raw]


def _open_field(blocks: list[Block], name: str, first: str) -> str:
    """Say under which name the next lines are kept, beginning a block where one begins."""
    if not blocks or (blocks[-1].parts and (name == first or (not first and name in blocks[-1].parts))):
        blocks.append(Block())
    elif first and name in blocks[-1].parts:
        blocks[-1].is_repeating = True
    return name


def _labels(lines: Sequence[str], pattern: re.Pattern[str], names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Map each word that is a label in this text to its field."""
    present = {match["word"].lower() for line in lines if (match := pattern.match(line))}
    best = {name: next((word for word in words if word in present), None) for name, words in names.items()}
    return {word: name for name, word in best.items() if word}


@lru_cache(maxsize=16)
def _label_pattern(words: str) -> re.Pattern[str]:
    return re.compile(
        rf"[ \t#>*_-]*+(?:\d{{1,3}}[ \t]*+[.):][ \t]*+)?[*_]*+(?P<word>{words})"
        rf"(?:[ \t]*+\#?\d{{1,3}})?[ \t]*+[*_]*+[ \t]*+:[*_]*+[ \t]*+(?P<rest>.*)$",
        re.IGNORECASE,
    )
