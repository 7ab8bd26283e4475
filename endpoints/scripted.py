"""An endpoint without a model: answers from a function, for tests and for trying Seedbed before there is a server."""

import random
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import anyio
import orjson

from seedbed.core.config import BudgetConfig, EndpointConfig
from seedbed.core.errors import EndpointError
from seedbed.core.events import Events
from seedbed.core.records import Completion, FinishReason, Request, Spent
from seedbed.endpoints import vocabulary
from seedbed.endpoints.budget import Budget
from seedbed.endpoints.fleet import Fleet, running
from seedbed.endpoints.lane import Lane
from seedbed.endpoints.protocol import Capabilities
from seedbed.endpoints.wire import estimated_prompt_tokens, estimated_tokens

Answer: TypeAlias = Callable[[Request], str | EndpointError]
CAPABLE = Capabilities(
    answers=True, models=("scripted",), server="scripted", chat=True, json_schema=True, stop=True, usage=True
)


class ScriptedEndpoint:
    """Answers each request with what `answer` returns, or raises it where it is an error."""

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        name: str = "scripted",
        model: str = "scripted",
        latency_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.name, self.model = name, model
        self._answer = answer or plausible_answers(seed)
        self._latency_s = latency_s

    async def complete(self, request: Request) -> Completion:
        await anyio.sleep(self._latency_s)
        text = self._answer(request)
        if isinstance(text, EndpointError):
            raise text
        return Completion(
            request_id=request.id,
            text=text,
            finish_reason=FinishReason.STOP,
            prompt_tokens=estimated_prompt_tokens(request),
            completion_tokens=estimated_tokens(text),
            model=self.model,
            endpoint=self.name,
            latency_s=self._latency_s,
        )

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def scripted_fleet(
    answer: Answer | None = None,
    *,
    latency_s: float = 0.0,
    max_in_flight: int = 64,
    max_attempts: int = 6,
    budget: BudgetConfig | None = None,
    spent: Spent | None = None,
    events: Events | None = None,
    has_json_schema: bool = True,
    seed: int = 0,
) -> AsyncIterator[Fleet]:
    """Run a fleet of one scripted endpoint, with the real limits, retries and budget."""
    rng = random.Random(seed)
    endpoint = ScriptedEndpoint(answer, latency_s=latency_s, seed=seed)
    config = EndpointConfig(name="scripted", base_url="http://scripted", model="scripted", max_in_flight=max_in_flight)

    async def capabilities() -> Capabilities:
        return replace(CAPABLE, json_schema=has_json_schema)

    fleet = Fleet(
        [Lane(endpoint, config, now=anyio.current_time(), rng=rng)],
        budget=Budget(budget or BudgetConfig(), spent or Spent()),
        max_attempts=max_attempts,
        events=events or Events(),
        probe=capabilities,
        rng=rng,
    )
    async with running(fleet):
        yield fleet


def plausible_answers(seed: int = 0) -> Answer:
    """Return an answer function that fills the schema it is given, or else writes what the text asks for.

    The same seed gives the same answers to the same requests; the id counts, so a question asked again is
    answered anew.
    """

    def answer(request: Request) -> str:
        rng = random.Random(zlib.crc32(f"{seed}/{request.id}/{request.messages[-1].content}".encode(errors="replace")))
        if request.sampling.json_schema is not None:
            return orjson.dumps(filled(request.sampling.json_schema, rng)).decode()
        return _free_text(request, rng)

    return answer


def filled(schema: Mapping[str, Any], rng: random.Random, name: str = "", root: Mapping[str, Any] | None = None) -> Any:
    """Make up a value that follows a JSON Schema of the plain kinds: objects, arrays, strings, numbers, choices."""
    root = schema if root is None else root
    if "$ref" in schema:
        return filled(root["$defs"][schema["$ref"].rpartition("/")[2]], rng, name, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return filled(rng.choice(schema[key]), rng, name, root)
    kind = schema.get("type", "string")
    if kind == "object":
        return {key: filled(part, rng, key, root) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        low, high = schema.get("minItems", 1), schema.get("maxItems", 4)
        count = rng.randint(max(1, low), max(1, low, min(high, low + 7)))
        return [filled(schema.get("items", {}), rng, name, root) for _ in range(count)]
    return _scalar(schema, str(kind), rng, name)


def _scalar(schema: Mapping[str, Any], kind: str, rng: random.Random, name: str) -> Any:
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in {"integer", "number"}:
        low = schema.get("minimum", 1)
        return rng.randint(int(low), int(schema.get("maximum", low + 4)))
    if kind == "null":
        return None
    return str(_text(name, rng))[: schema.get("maxLength")]


def _text(name: str, rng: random.Random) -> str:
    if name.startswith(("instruction", "task")):
        return vocabulary.instruction(rng)
    if name == "input":
        return "" if rng.random() < 0.5 else vocabulary.passage(rng)
    if name in {"label", "category"}:
        return vocabulary.label(rng)
    return vocabulary.answer(rng)


def _free_text(request: Request, rng: random.Random) -> str:
    """Write what a recipe's text parser reads, going by the marks in the prompt and the purpose."""
    prompt = request.messages[-1].content
    if request.purpose.endswith(".classify") or "yes or no" in prompt:
        return rng.choice(("Yes", "No"))
    if request.purpose.endswith(".propose") or "new instructions" in prompt:
        return "\n".join(f"{number}. {vocabulary.instruction(rng)}" for number in range(1, 9))
    if "### " in prompt:
        return "\n".join(_triple(number, rng) for number in range(1, 4))
    if "Output:" in prompt:
        return f"Input: {_text('input', rng) or '<noinput>'}\nOutput: {vocabulary.answer(rng)}"
    return vocabulary.answer(rng)


def _triple(number: int, rng: random.Random) -> str:
    text = f"### Task {number}\nInstruction: {vocabulary.instruction(rng)}\n"
    return text + f"Input: {_text('input', rng) or '<noinput>'}\nOutput: {vocabulary.answer(rng)}"
