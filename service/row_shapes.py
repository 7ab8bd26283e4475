"""What a row of someone else's file says: its instruction, input and output, whichever way it is written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.core.records import Candidate, Lineage

INSTRUCTION_KEYS = ("instruction", "prompt", "question")
INPUT_KEYS = ("input", "context")
OUTPUT_KEYS = ("output", "response", "completion", "answer")
TURN_KEYS = ("messages", "conversations", "conversation")
KNOWN_SHAPES = (
    "instruction/input/output (Alpaca), instruction/context/response (Dolly), prompt/completion, question/answer, "
    "messages (OpenAI) or conversations (ShareGPT)"
)

_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_IMPORTED = Lineage(recipe="import")


@dataclass(frozen=True, slots=True)
class Triple:
    """A row's three texts."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class _Turn:
    role: str
    text: str


class ShapeError(ValueError):
    """A row is none of the known shapes; the message says why. It becomes the row's refusal, never a crash."""


def has_known_shape(keys: Collection[str]) -> bool:
    """Tell whether rows with these keys can be read as triples."""
    return any(key in keys for key in TURN_KEYS) or (
        any(key in keys for key in INSTRUCTION_KEYS) and any(key in keys for key in OUTPUT_KEYS)
    )


def triple_of(row: dict[str, Any]) -> Triple:
    """Read a row as instruction, input and output.

    Of a conversation the first user turn is the instruction, the last assistant turn the output, and what lies
    between them the input; a system turn is left aside.

    Raises:
        ShapeError: It cannot be.
    """
    for key in TURN_KEYS:
        if isinstance(row.get(key), list):
            return _triple_of_turns(_turns(row[key]))
    instruction, output = _first(row, INSTRUCTION_KEYS), _first(row, OUTPUT_KEYS)
    if not instruction or not output:
        raise ShapeError(f"no {KNOWN_SHAPES}; its keys are {', '.join(map(str, row)) or 'none'}")
    if isinstance(row[instruction], list) and isinstance(row[output], list):
        return _triple_of_turns(_turns(row[instruction]) + _turns(row[output]))
    given = _first(row, INPUT_KEYS)
    return Triple(
        _text(row[instruction], instruction), _text(row[given], given) if given else "", _text(row[output], output)
    )


def candidate_of(row: dict[str, Any], number: int, task_field: str = "task_id") -> Candidate:
    """Make a candidate of a row; its id is the row's number, since that is what a person can look up.

    Raises:
        ShapeError: It is none of the known shapes.
    """
    triple = triple_of(row)
    identity = str(number)
    task, category = row.get(task_field), row.get("category")
    return Candidate(
        id=identity,
        task_id=f"task {task}" if isinstance(task, str | int) and task != "" else identity,
        instruction=triple.instruction,
        input=triple.input,
        output=triple.output,
        category=category if isinstance(category, str) else "",
        lineage=_IMPORTED,
    )


def _first(row: dict[str, Any], keys: Sequence[str]) -> str:
    return next((key for key in keys if key in row), "")


def _text(value: Any, key: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    raise ShapeError(f"{key} is not a text but {type(value).__name__}")


def _turns(turns: list[Any]) -> list[_Turn]:
    found = []
    for place, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            raise ShapeError(f"turn {place} is not an object but {type(turn).__name__}")
        said = turn.get("role", turn.get("from", turn.get("speaker")))
        role = _ROLES.get(said.lower()) if isinstance(said, str) else None
        if role is None:
            raise ShapeError(f"turn {place} has the unknown role {said!r}")
        found.append(_Turn(role, _content(turn.get("content", turn.get("value", turn.get("text"))), place)))
    return found


def _content(content: Any, place: int) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            raise ShapeError(f"turn {place} has parts that are not text")
        return "\n".join(str(part) for part in parts)
    return _text(content, f"turn {place}")


def _triple_of_turns(turns: list[_Turn]) -> Triple:
    spoken = [turn for turn in turns if turn.role != "system"]
    asks = next((place for place, turn in enumerate(spoken) if turn.role == "user"), None)
    answers = next((p for p in range(len(spoken) - 1, -1, -1) if spoken[p].role == "assistant"), None)
    if asks is None or answers is None or answers < asks:
        raise ShapeError("the conversation has no user turn that an assistant turn answers")
    between = "\n".join(turn.text for turn in spoken[asks + 1 : answers])
    return Triple(spoken[asks].text, between, spoken[answers].text)
