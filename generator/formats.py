"""Checking answers whose form the instruction prescribes: JSON, CSV and XML that must parse, labels to choose from.

Each check answers True, False, or None where it does not apply or where it could not tell. None is common: only what
is surely asked for is checked, since a right row that is refused is lost.
"""

import csv
import io
import json
import re
from xml.parsers import expat

from seedbed.core.text import folded
from seedbed.generator.labels import labels_in

FORMAT, LABELS = "check.format", "check.labels"

MOST_LABEL_WORDS = 6
"""A longer answer says more than a label."""

_ABOUT = re.compile(
    r"\b(?:functions?|programs?|scripts?|code|parse|parsers?|explain|describe|difference|what is|advantages?|why|how|"
    r"convert (?:this |the )?(?:json|csv|xml)|from (?:json|csv|xml)|validate|fix|correct)\b",
    re.IGNORECASE,
)
_WANTED = {
    name: re.compile(
        rf"\b(?:as|in|into|to|valid|return|output|give|write|only|produce|create|build|make)(?: \w+){{0,3}}? {name}\b|"
        rf"\b{name} (?:object|array|list|form|format|document|lines?|snippet|record|string|output|with)\b",
        re.IGNORECASE,
    )
    for name in ("json", "csv", "xml")
}
_FENCED = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)
_CHOOSES = re.compile(
    r"\b(?:classify|label|categori[sz]e|choose|decide|pick|assign|answer|reply|respond|sort|say|mark|tell whether)\b",
    re.IGNORECASE,
)
_OPEN_CHOICE = re.compile(
    r"\b(?:several|all that|one or more|each|every|then|and (?:explain|give|say|why)|reason|because|list|per line|"
    r"for example|such as|e\.g\.|words?|sentences?)\b",
    re.IGNORECASE,
)


def is_of_format(instruction: str, output: str) -> bool | None:
    """Tell whether an answer parses as the one format that the instruction asks for."""
    lowered = instruction.casefold()
    wanted = [name for name, pattern in _WANTED.items() if name in lowered and pattern.search(instruction)]
    if len(wanted) != 1 or _ABOUT.search(instruction):
        return None
    fenced = _FENCED.match(output)
    text = (fenced[1] if fenced else output).strip()
    return _PARSERS[wanted[0]](text)


def is_allowed_label(instruction: str, output: str) -> bool | None:
    """Tell whether an answer is one of the labels that the instruction gives to choose from."""
    labels = labels_in(instruction)
    if len(labels) < 2 or not _CHOOSES.search(instruction) or _OPEN_CHOICE.search(instruction):
        return None
    answer = _bare(output)
    if not answer or len(answer.split()) > MOST_LABEL_WORDS:
        return None
    return answer in {_bare(label) for label in labels}


def _is_json(text: str) -> bool | None:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_csv(text: str) -> bool | None:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error:
        return False
    return bool(rows) and len({len(row) for row in rows}) == 1


def _is_xml(text: str) -> bool | None:
    """Parse without ever expanding an entity: a document that declares its own is not looked at."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        expat.ParserCreate().Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError:
        return False
    return True


_PARSERS = {"json": _is_json, "csv": _is_csv, "xml": _is_xml}


def _bare(text: str) -> str:
    return folded(text).strip(" .!\"'“”‘’*`()[]")
