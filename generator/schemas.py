"""The JSON Schemas that answers must follow, kept to keywords that all servers with guided decoding know.

Property order matters: llama.cpp and vLLM write the properties in the order given here, so an output-first
instance is one whose schema names the output first. Nobody changes a schema: requests share their parts.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")

_TEXT = {"type": "string"}


def triples_schema(topics: Sequence[str]) -> dict[str, Any]:
    """An object with one task for each topic, `task_1` and on, which names its topic before anything else.

    Having to write a topic down first is what makes a small model leave its demonstrations behind; with a list
    of tasks and a free choice of topic it takes the same one again and again.
    """
    return _numbered("task", [_triple_on(topic) for topic in topics])


def instructions_schema(topics: Sequence[str]) -> dict[str, Any]:
    """An object with one instruction for each topic, `instruction_1` and on, each with its topic before it."""
    return _numbered("instruction", [_proposal_on(topic) for topic in topics])


def task_schema() -> dict[str, Any]:
    """An object with one instruction and its input."""
    return _object(instruction=_TEXT, input=_TEXT)


def instances_schema(count: int, *, is_output_first: bool, labels: Sequence[str] = ()) -> dict[str, Any]:
    """An object with one to `count` instances; with `labels`, each output is one of them."""
    output = {"type": "string", "enum": list(labels)} if labels else _TEXT
    instance = _object(output=output, input=_TEXT) if is_output_first else _object(input=_TEXT, output=output)
    return _object(instances=_list(instance, 1, count))


def numbered(name: str, values: Sequence[T]) -> dict[str, T]:
    """Key values as the schemas do: `name_1` and on."""
    return {f"{name}_{number}": value for number, value in enumerate(values, 1)}


def _numbered(name: str, schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return _object(**numbered(name, schemas))


@lru_cache(maxsize=4096)  # a thousand requests in flight share what they say of their few hundred topics
def _triple_on(topic: str) -> dict[str, Any]:
    return _object(topic=_only(topic), instruction=_TEXT, input=_TEXT, output=_TEXT)


@lru_cache(maxsize=4096)
def _proposal_on(topic: str) -> dict[str, Any]:
    return _object(topic=_only(topic), instruction=_TEXT)


def _only(text: str) -> dict[str, Any]:
    return {"type": "string", "enum": [text]}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}
