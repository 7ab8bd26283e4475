"""Reading completions: JSON where it was asked for, else labelled blocks and numbered lists.

Pure. A completion is never an error: what cannot be read comes back as problems, each a reason and the raw text.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar

from seedbed.core.records import FinishReason
from seedbed.generator.pieces import Block, json_pieces, labelled_blocks

RowT = TypeVar("RowT")


class Unreadable(StrEnum):
    """Why a piece of a completion gave no row."""

    EMPTY = "empty_completion"
    CUT = "cut"
    """The model ran out of tokens in the middle of it."""
    BROKEN_JSON = "broken_json"
    NOTHING_FOUND = "no_task_found"
    """Prose, or a form we do not know."""
    NO_INSTRUCTION = "missing_instruction"
    NO_OUTPUT = "missing_output"
    REPEATED_FIELD = "repeated_field"
    """Two inputs or two outputs to one instruction, so it is unclear which belong together."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A piece that could not be read."""

    reason: Unreadable
    text: str


@dataclass(frozen=True, slots=True)
class Parsed(Generic[RowT]):
    """What a completion holds."""

    rows: tuple[RowT, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Triple:
    """An instruction with its input and output."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """An instruction with its input, not answered yet."""

    instruction: str
    input: str


@dataclass(frozen=True, slots=True)
class Instance:
    """An input and output for an instruction that is known."""

    input: str
    output: str


MAX_BROKEN_CHARACTERS = 20_000
"""Of a broken list that are searched for whole strings."""

Read = Callable[[Mapping[str, str], str], RowT | Problem]

_INSTRUCTION = ("instruction", "task")
_INPUT = ("input", "context")
_OUTPUT = ("output", "response", "answer", "label")
_TRIPLE = {"instruction": _INSTRUCTION, "input": _INPUT, "output": _OUTPUT}
_INSTANCE = {"input": _INPUT, "output": _OUTPUT}
_TASK = {"instruction": _INSTRUCTION, "input": _INPUT}

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_SPECIAL_TOKEN = re.compile(r"(?:<\|[\w.-]+\|>|</s>|<eos>|<end_of_turn>)$")
_LONGEST_TOKEN = 64
_SEPARATING_LINE = re.compile(r"#{2,}|-{3,}|={3,}|\*{3,}|[#*_ ]*(?:task|example)[ \t]*\d{1,3}[.:*_ ]*", re.IGNORECASE)
_NO_INPUT = re.compile(
    r"[<(\[]?\s*(?:no[ _-]?input(?: (?:is )?(?:needed|required|provided))?|none|n/a|empty)\s*[>)\]]?\.?", re.IGNORECASE
)
_LEAKED = re.compile(
    r"(?:[#*_\s]*+(?:instruction|task)[ \t]*+\#?\d{0,3}[*_ ]*+:[*_]*+\s*+|[#*]*+\s*+\d{1,3}[.)]\s++|[-*•]\s++){1,20}+",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"^([ \t]*)(?:[*_]*(?:instruction|task)[ \t]*)?(?:\d{1,3}[ \t]*[.):]|[-*•])[*_]*[ \t]+(.*)$", re.IGNORECASE
)
_KEY_AND_TEXT = re.compile(r'"\s*:\s*"')
_YES_NO = re.compile(r"\W*(yes|no|true|false)\b", re.IGNORECASE)


def parse_triples(text: str, finish_reason: FinishReason) -> Parsed[Triple]:
    """Read the triples of one completion."""
    return _parse(text, finish_reason, _TRIPLE, "instruction", _triple)


def parse_instances(text: str, finish_reason: FinishReason) -> Parsed[Instance]:
    """Read the instances of a known instruction, whichever of input and output comes first."""
    return _parse(text, finish_reason, _INSTANCE, "", _instance)


def parse_tasks(text: str, finish_reason: FinishReason) -> Parsed[Task]:
    """Read instructions with their inputs, without outputs."""
    return _parse(text, finish_reason, _TASK, "instruction", _task)


def plain_text(text: str) -> str:
    """Return an answer in free text, without thinking, special tokens and separators."""
    return _clean(_without_thinking(text))


def parse_instructions(text: str, finish_reason: FinishReason) -> Parsed[str]:
    """Read a list of instructions: JSON strings, or a numbered or bulleted list."""
    text = _without_thinking(text)
    if not text:
        return Parsed((), (Problem(Unreadable.EMPTY, ""),))
    if re.search(r'[\[:]\s*"|^```json', text) and re.search(r"[{\[]", text):
        return _instructions_in_json(text, finish_reason)
    rows, problems = _listed(text), []
    if finish_reason == FinishReason.LENGTH and rows:
        problems.append(Problem(Unreadable.CUT, rows.pop()))
    elif not rows:
        problems.append(Problem(_cut_or(Unreadable.NOTHING_FOUND, finish_reason), text))
    return Parsed(tuple(filter(None, map(_clean_instruction, rows))), tuple(problems))


def parse_yes_no(text: str) -> bool | None:
    """Read an answer to a yes-or-no question; None where it is neither."""
    match = _YES_NO.match(_without_thinking(text))
    return match[1].lower() in ("yes", "true") if match else None


def _parse(
    text: str, finish_reason: FinishReason, names: Mapping[str, tuple[str, ...]], first: str, read: Read[RowT]
) -> Parsed[RowT]:
    text = _without_thinking(text)
    if not text:
        return Parsed((), (Problem(Unreadable.EMPTY, ""),))
    if _is_json(text, names):
        results = _rows_in_json(text, finish_reason, names, read)
    else:
        results = _rows_in_blocks(finish_reason, labelled_blocks(text, names, first), read)
    if not results:
        results = [Problem(_cut_or(Unreadable.NOTHING_FOUND, finish_reason), text)]
    return Parsed(
        tuple(result for result in results if not isinstance(result, Problem)),
        tuple(result for result in results if isinstance(result, Problem)),
    )


def _is_json(text: str, names: Mapping[str, tuple[str, ...]]) -> bool:
    """Tell JSON from labelled lines by what comes first: either may stand inside the other, as an output."""
    key = _key_pattern("|".join(word for words in names.values() for word in words)).search(text)
    if key is None:
        return False
    before = text[: key.start()]
    is_bare = before[:1] in ("", "{", "[") and "\n" not in before  # no line of it begins as a label
    return is_bare or not labelled_blocks(before, names, "")


@lru_cache(maxsize=16)
def _key_pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf'[{{,]\s*"(?:{words})"\s*:', re.IGNORECASE)


def _rows_in_json(
    text: str, finish_reason: FinishReason, names: Mapping[str, tuple[str, ...]], read: Read[RowT]
) -> list[RowT | Problem]:
    pieces = json_pieces(text, lambda value: bool(_objects(value, names)))
    results: list[RowT | Problem] = []
    for value in pieces.values:
        found = _objects(value, names)
        results += [_read_object(one, names, read) for one in found]
    for number, broken in enumerate(pieces.broken, 1):
        is_last = number == len(pieces.broken)
        reason = _cut_or(Unreadable.BROKEN_JSON, finish_reason) if is_last else Unreadable.BROKEN_JSON
        results.append(Problem(reason, broken))
    return results


def _read_object(one: dict[str, Any], names: Mapping[str, tuple[str, ...]], read: Read[RowT]) -> RowT | Problem:
    result = read(_fields(one, names), "")
    return Problem(result.reason, json.dumps(one, ensure_ascii=False)) if isinstance(result, Problem) else result


def _rows_in_blocks(finish_reason: FinishReason, blocks: list[Block], read: Read[RowT]) -> list[RowT | Problem]:
    results: list[RowT | Problem] = []
    for number, block in enumerate(blocks, 1):
        if finish_reason == FinishReason.LENGTH and number == len(blocks):
            results.append(Problem(Unreadable.CUT, block.raw))
        elif block.is_repeating:
            results.append(Problem(Unreadable.REPEATED_FIELD, block.raw))
        else:
            results.append(read(block.fields, block.raw))
    return results


def _triple(fields: Mapping[str, str], raw: str) -> Triple | Problem:
    instruction = _clean_instruction(fields.get("instruction", ""))
    if not instruction:
        return Problem(Unreadable.NO_INSTRUCTION, raw)
    instance = _instance(fields, raw)
    return instance if isinstance(instance, Problem) else Triple(instruction, instance.input, instance.output)


def _task(fields: Mapping[str, str], raw: str) -> Task | Problem:
    instruction, given = _clean_instruction(fields.get("instruction", "")), _clean(fields.get("input", ""))
    if not instruction:
        return Problem(Unreadable.NO_INSTRUCTION, raw)
    return Task(instruction, "" if _NO_INPUT.fullmatch(given) else given)


def _instance(fields: Mapping[str, str], raw: str) -> Instance | Problem:
    given, output = _clean(fields.get("input", "")), _clean(fields.get("output", ""))
    if not output:
        return Problem(Unreadable.NO_OUTPUT, raw)
    return Instance("" if _NO_INPUT.fullmatch(given) else given, output)


def _objects(value: Any, names: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Find the objects that carry an instruction (or, where that is known, an output) inside lists and wrappers."""
    if isinstance(value, dict):
        if any(_is_row_key(key, inner, names) for key, inner in value.items()):
            return [value]
        return [found for inner in value.values() for found in _objects(inner, names)]
    if isinstance(value, list):
        return [found for inner in value for found in _objects(inner, names)]
    return []


def _is_row_key(key: str, value: Any, names: Mapping[str, tuple[str, ...]]) -> bool:
    if "instruction" in names:
        return key.lower() in names["instruction"] and isinstance(value, str)
    return key.lower() in names["output"]


def _fields(found: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    lower = {key.lower(): value for key, value in found.items()}
    fields = {}
    for name, words in names.items():
        word = next((word for word in words if word in lower), None)
        fields[name] = _as_text(lower[word]) if word else ""
    return fields


def _as_text(value: Any) -> str:
    """Take a string as it is, nothing for null, and anything else as the JSON it was written in."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _instructions_in_json(text: str, finish_reason: FinishReason) -> Parsed[str]:
    pieces = json_pieces(text, lambda value: bool(_strings(value)))
    rows = [cleaned for value in pieces.values for string in _strings(value) if (cleaned := _clean_instruction(string))]
    problems = []
    for broken in pieces.broken:
        strings = [] if _KEY_AND_TEXT.search(broken) else _whole_strings(broken)
        rows += [cleaned for string in strings if (cleaned := _clean_instruction(string))]
        problems.append(Problem(_cut_or(Unreadable.BROKEN_JSON, finish_reason), broken))
    if not rows and not problems:
        problems.append(Problem(_cut_or(Unreadable.NOTHING_FOUND, finish_reason), text))
    return Parsed(tuple(rows), tuple(problems))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        direct = [text for key, text in value.items() if key.lower() in _INSTRUCTION and isinstance(text, str)]
        return direct or [
            text for inner in value.values() if isinstance(inner, list | dict) for text in _strings(inner)
        ]
    if isinstance(value, list):
        nested = [text for inner in value if isinstance(inner, dict) for text in _strings(inner)]
        return nested or [text for text in value if isinstance(text, str)]
    return []


def _whole_strings(broken: str) -> list[str]:
    """Read the strings of a list that was cut in one of them; a string that is followed by nothing may be cut."""
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"\s*(?=,)', broken[:MAX_BROKEN_CHARACTERS])
    return [json_text for string in strings if (json_text := _unquoted(string))]


def _unquoted(string: str) -> str:
    try:
        return str(json.loads(f'"{string}"', strict=False))
    except ValueError:
        return ""


def _listed(text: str) -> list[str]:
    """Read list items; deeper ones and unnumbered lines belong to the item above, and what precedes is preamble."""
    items: list[list[str]] = []
    depth = 0
    for line in text.replace("\r\n", "\n").split("\n"):
        match = _NUMBERED.match(line)
        if match and (not items or len(match[1]) <= depth):
            depth = len(match[1])
            items.append([match[2]])
        elif items:
            items[-1].append(line)
    return ["\n".join(lines) for lines in items]


def _clean_instruction(text: str) -> str:
    text = _clean(text)
    match = _LEAKED.match(text)
    return text[match.end() :].strip() if match and "\n" not in text[match.end() :] else text


def _clean(text: str) -> str:
    text = _without_last_separators(_without_last_tokens(text.strip()))
    for mark in ("**", '"'):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark) and text.count(mark) == 2:
            text = text[len(mark) : -len(mark)].strip()
    return text


def _without_last_tokens(text: str) -> str:
    end = len(text)
    while match := _SPECIAL_TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end):
        end = match.start()
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def _without_last_separators(text: str) -> str:
    """Take off rules, headings of a next task, and a code fence that closes nothing."""
    lines = text.split("\n")
    has_open_fence = sum(line.strip().startswith("```") for line in lines) % 2 == 1
    while lines:
        last = lines[-1].strip()
        if last and not _SEPARATING_LINE.fullmatch(last) and not (last == "```" and has_open_fence):
            break
        lines.pop()
    return "\n".join(lines).strip()


def _without_thinking(text: str) -> str:
    return _THINKING.sub("", text).strip("\ufeff \t\r\n")


def _cut_or(reason: Unreadable, finish_reason: FinishReason) -> Unreadable:
    return Unreadable.CUT if finish_reason == FinishReason.LENGTH else reason
