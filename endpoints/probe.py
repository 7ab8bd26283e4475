"""What a server can do, found by trying it with short requests; never by sending `seed`, which kills one engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import orjson
from pydantic import SecretStr

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError
from seedbed.endpoints.control import Control, controlling
from seedbed.endpoints.memory import ProbeMemory
from seedbed.endpoints.protocol import Capabilities
from seedbed.endpoints.site import Site, listed_models
from seedbed.endpoints.wire import excerpt, in_words_of

TRY_LIMIT_S = 120.0
_SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green", "blue"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["colour", "count"],
    "additionalProperties": False,
}


async def probe(
    config: EndpointConfig, base_url: str, key: SecretStr | None = None, memory: ProbeMemory | None = None
) -> Capabilities:
    """Try everything once, or recall it of a server of the same version.

    What fails becomes a line in `problems`, never an exception.
    """
    async with controlling(base_url, config.name, key) as control:
        try:
            models = await listed_models(control)
        except EndpointError as error:
            return Capabilities(answers=False, problems=(str(error),))
        server, version = await _server_of(control)
        if memory and (known := memory.get(config, server, version)):
            return replace(known, models=models)
        found = _Found(control, config)
        await found.try_all()
        capabilities = Capabilities(
            answers=True, models=models, server=server, version=version, problems=tuple(found.problems), **found.can
        )
        if memory:
            memory.put(config, capabilities)
        return capabilities


async def probe_all(sites: Sequence[Site], memory: ProbeMemory | None = None) -> Capabilities:
    """Probe several endpoints at once and return what all of them have."""
    found: dict[int, Capabilities] = {}

    async def one(number: int, site: Site) -> None:
        found[number] = await probe(site.config, site.base_url, site.key, memory)

    async with anyio.create_task_group() as tasks:
        for number, site in enumerate(sites):
            tasks.start_soon(one, number, site)
    return common_to([found[number] for number in range(len(sites))])


def common_to(all_found: Sequence[Capabilities]) -> Capabilities:
    """Return what every one of several servers can do."""
    if len(all_found) == 1:
        return all_found[0]
    abilities = ("answers", "chat", "completions", "json_schema", "stop", "n", "logprobs", "usage")
    return Capabilities(
        models=tuple(dict.fromkeys(name for found in all_found for name in found.models)),
        server=", ".join(dict.fromkeys(found.server for found in all_found if found.server)),
        version=", ".join(dict.fromkeys(found.version for found in all_found if found.version)),
        problems=tuple(problem for found in all_found for problem in found.problems),
        **{ability: all(getattr(found, ability) for found in all_found) for ability in abilities},
    )


@dataclass(slots=True)
class _Found:
    """What has been found so far of one server."""

    control: Control
    config: EndpointConfig
    can: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def try_all(self) -> None:
        counted = await self._chat("chat", "Count from 1 to 9, separated by single spaces.", max_tokens=40)
        self.can["usage"] = _has_usage(counted)
        if counted is not None and not self.can["usage"]:
            self.problems.append("usage: the answer has no token counts; they will be estimated")
        await self._completions()
        await self._json_schema()
        await self._stop(_text_of(counted))
        twice = await self._chat(
            "n", "Name a colour.", max_tokens=8, n=2, temperature=1
        )  # greedy choices would be equal
        self._set("n", len((twice or {}).get("choices", ())) == 2, twice, "asked for 2 choices, got another number")
        weighed = await self._chat("logprobs", "Name a colour.", max_tokens=4, logprobs=True, top_logprobs=1)
        has_weights = bool(_choice_of(weighed).get("logprobs"))
        self._set("logprobs", has_weights, weighed, "accepted, but the answer has none")

    async def _chat(self, ability: str, prompt: str, **settings: Any) -> dict[str, Any] | None:
        """Ask a short question; a refusal or a malformed answer is noted against the ability."""
        body = {
            "model": self.config.model,
            "temperature": 0,
            "messages": [{"role": "user", "content": prompt}],
            **settings,
        }
        answer = await self._post(ability, "/chat/completions", body)
        is_answer = isinstance(_choice_of(answer).get("message"), dict)
        self._set(ability, is_answer, answer, "the answer has no message")
        return answer if is_answer else None

    async def _post(self, ability: str, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            reply = await self.control.post(path, in_words_of(self.config, body), TRY_LIMIT_S)
        except EndpointError as error:
            self.problems.append(f"{ability}: {error}")
            return None
        answer = reply.json()
        if reply.status == 200 and isinstance(answer, dict):
            return answer
        self.problems.append(f"{ability}: {reply.status} {excerpt(reply.body)}")
        return None

    async def _completions(self) -> None:
        body = {"model": self.config.model, "prompt": "1 2 3 4", "max_tokens": 4, "temperature": 0}
        answer = await self._post("completions", "/completions", body)
        self._set("completions", isinstance(_choice_of(answer).get("text"), str), answer, "the answer has no text")

    async def _json_schema(self) -> None:
        """Ask for prose under a schema: only a server that holds the model to it answers by the schema."""
        schema = {"name": "answer", "strict": True, "schema": _SCHEMA}
        answer = await self._chat(
            "json_schema",
            "Write a short sentence about the sea in plain words.",
            max_tokens=64,
            response_format={"type": "json_schema", "json_schema": schema},
        )
        if answer is not None:
            self._set("json_schema", _follows_schema(_text_of(answer)), answer, "accepted, but the answer ignores it")

    async def _stop(self, free_text: str) -> None:
        """Ask the first question again, to be stopped at a word from the middle of its free answer."""
        words = free_text.split()
        if len(words) < 3:
            self._set("stop", False, {}, f"could not be told from the answer {free_text[:40]!r}")
            return
        word = words[len(words) // 2]
        prompt = "Count from 1 to 9, separated by single spaces."
        stopped = await self._chat("stop", prompt, max_tokens=40, stop=[word])
        if stopped is not None:
            self._set("stop", word not in _text_of(stopped), stopped, "accepted, but the answer goes past it")

    def _set(self, ability: str, holds: bool, answer: object, otherwise: str) -> None:
        """Note an ability; `otherwise` is the problem where there was an answer (no answer has told its own)."""
        self.can[ability] = holds
        if not holds and answer is not None:
            self.problems.append(f"{ability}: {otherwise}")


async def _server_of(control: Control) -> tuple[str, str]:
    """Return a server's kind and version, as far as it tells: vLLM by /version, llama.cpp by /props."""
    try:
        version = await control.get("//version")
        if version.status == 200 and isinstance(found := version.json(), dict) and "version" in found:
            return "vllm", str(found["version"])
        props = await control.get("//props")
        if isinstance(found := props.json(), dict) and "build_info" in found:
            return "llama.cpp", str(found["build_info"])
    except EndpointError:
        return "", ""
    return version.headers.get("server", ""), ""


def _follows_schema(text: str) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(value, dict) or set(value) != {"colour", "count"}:
        return False
    return value["colour"] in {"red", "green", "blue"} and isinstance(value["count"], int) and 1 <= value["count"] <= 9


def _choice_of(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    choices = (answer or {}).get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _text_of(answer: Mapping[str, Any] | None) -> str:
    content = (_choice_of(answer).get("message") or {}).get("content")
    return content if isinstance(content, str) else ""


def _has_usage(answer: Mapping[str, Any] | None) -> bool:
    usage = (answer or {}).get("usage")
    if not isinstance(usage, dict):
        return False
    return all(isinstance(usage.get(key), int) and usage[key] > 0 for key in ("prompt_tokens", "completion_tokens"))
