"""The JSON Schemas that answers must follow, kept to keywords that all servers with guided decoding know.

Property order matters: llama.cpp and vLLM write the properties in the order given here, so an output-first
instance is one whose schema names the output first.
"""

from collections.abc import Sequence
from typing import Any

_TEXT = {"type": "string"}


def triples_schema(count: int, topics: Sequence[str]) -> dict[str, Any]:
    """An object with exactly `count` tasks, each of which names one of the `topics` before it is written.

    Having to write a topic down first is what makes a small model leave its demonstrations behind.
    """
    return _object(
        tasks=_list(_object(topic=_topic(topics), instruction=_TEXT, input=_TEXT, output=_TEXT), count, count)
    )


def instructions_schema(count: int, topics: Sequence[str]) -> dict[str, Any]:
    """An object with exactly `count` instructions, each with its topic before it."""
    return _object(instructions=_list(_object(topic=_topic(topics), instruction=_TEXT), count, count))


def instances_schema(count: int, *, is_output_first: bool) -> dict[str, Any]:
    """An object with one to `count` instances."""
    instance = _object(output=_TEXT, input=_TEXT) if is_output_first else _object(input=_TEXT, output=_TEXT)
    return _object(instances=_list(instance, 1, count))


def _topic(topics: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(topics)} if topics else _TEXT


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}
