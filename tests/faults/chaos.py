"""A chaos server: whatever a server of this protocol has been seen to send, drawn by a seed.

`Chaos` makes replies for the scripted server, on real sockets; `on_virtual_time` gives the same replies to the real
reader of replies without a socket, so that hangs of minutes cost nothing.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import anyio
import orjson

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointUnreachableError
from seedbed.core.records import Completion, Request
from seedbed.endpoints.scripted_server import Fault, Received, Reply
from seedbed.endpoints.wire import Address, completion_of, error_of, too_large, too_slow
from tests.endpoints.parts import Behaving

Make = Callable[["Chaos", str], Reply]


class Chaos:
    """Answers well, but for a share of its replies."""

    def __init__(
        self, rng: random.Random, share: float, answer: Callable[[Request], str], *, in_turn: bool = False
    ) -> None:
        """Take where chance comes from; `in_turn` sends one kind after the other instead."""
        self.rng, self.share, self.answer = rng, share, answer
        self._turns = itertools.cycle(KINDS) if in_turn else None
        self.sent: Counter[str] = Counter()
        self.last_text = "blue"

    def reply(self, request: Request) -> Reply:
        text = self.answer(request)
        kind = next(self._turns) if self._turns else self._drawn()
        self.sent[kind] += 1
        reply = KINDS[kind](self, text) if kind != "well" else _completion(text)
        self.last_text = text
        return reply

    def _drawn(self) -> str:
        return self.rng.choice(list(KINDS)) if self.rng.random() < self.share else "well"

    def respond(self, received: Received, request_of: Callable[[dict[str, Any]], Request]) -> Reply:
        """Be the `respond` of a scripted server."""
        if received.method != "POST":
            return Reply(b'{"data": [{"id": "scripted"}]}')
        return self.reply(request_of(orjson.loads(received.body)))


def _completion(text: str | None, *, model: str = "scripted", finish: str = "stop", **message: Any) -> Reply:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 40, "completion_tokens": 20}
    return Reply(orjson.dumps({"model": model, "choices": [choice], "usage": usage}))


def _with_usage(text: str, usage: object) -> Reply:
    return Reply(orjson.dumps(orjson.loads(_completion(text).body) | {"usage": usage}))


def _failure(status: int, headers: dict[str, str] | None = None) -> Reply:
    return Reply(orjson.dumps({"error": {"message": f"failed with {status}"}}), status, headers or {})


KINDS: dict[str, Make] = {
    "reset": lambda _, __: Reply(b"", fault=Fault.RESET),
    "closed": lambda _, __: Reply(b"", fault=Fault.CLOSE),
    "hang": lambda _, __: Reply(b"", fault=Fault.HANG),
    "trickle": lambda _, text: Reply(_completion(text).body, fault=Fault.TRICKLE),
    "cut connection": lambda _, text: Reply(_completion(text).body, fault=Fault.TRUNCATE),
    "endless body": lambda _, __: Reply(b"", fault=Fault.ENDLESS),
    "429": lambda _, __: _failure(429),
    "429 in seconds": lambda chaos, _: _failure(429, {"Retry-After": chaos.rng.choice(["0", "1", "0.5"])}),
    "429 until a date": lambda _, __: _failure(429, {"Retry-After": formatdate(0, usegmt=True)}),
    "429 for ever": lambda _, __: _failure(429, {"Retry-After": "soon"}),
    "503": lambda _, __: _failure(503),
    "500": lambda _, __: _failure(500),
    "502 of a proxy": lambda _, __: Reply(b"<html>Bad Gateway</html>", 502, {"Content-Type": "text/html"}),
    "400": lambda _, __: _failure(400),
    "invalid JSON": lambda _, __: Reply(b'{"choices": [{"mess'),
    "no UTF-8": lambda _, __: Reply(b'{"choices": "\xff\xfe"}'),
    "no object": lambda _, __: Reply(b"[1, 2]"),
    "empty body": lambda _, __: Reply(b""),
    "error with 200": lambda _, __: Reply(b'{"error": {"message": "out of memory"}}'),
    "no choices": lambda _, __: Reply(b'{"model": "scripted", "choices": []}'),
    "choice of null": lambda _, __: Reply(b'{"choices": [null]}'),
    "no message": lambda _, __: Reply(b'{"choices": [{"index": 0}]}'),
    "null content": lambda _, __: _completion(None),
    "reasoning alone": lambda _, __: _completion(None, finish="length", reasoning_content="Let me think."),
    "reasoning beside": lambda _, text: _completion(text, reasoning="Let me think."),
    "thinking inside": lambda _, text: _completion(f"<think>Let me think.</think>{text}"),
    "cut text": lambda _, text: _completion(text[: len(text) // 2], finish="length"),
    "parts": lambda _, text: _completion([{"type": "text", "text": text}]),  # type: ignore[arg-type]
    "wrong model": lambda _, text: _completion(text, model="another-model"),
    "duplicate": lambda chaos, _: _completion(chaos.last_text),
    "no usage": lambda _, text: _with_usage(text, None),
    "odd usage": lambda _, text: _with_usage(text, {"prompt_tokens": -3}),
    "lone surrogate": lambda _, text: Reply(_completion(text).body.replace(b'"content":"', b'"content":"\\ud800', 1)),
    "control characters": lambda _, text: _completion(f"\x00\x1b[31m{text}"),
}  # fmt: skip


def on_virtual_time(chaos: Chaos, config: EndpointConfig) -> Behaving:
    """Send a reply without a socket: the wire's reader reads it, the wire's faults take their time."""
    address = Address(config.name, config.model, config.base_url)

    async def behave(request: Request) -> Completion:
        reply = chaos.reply(request)
        await anyio.sleep(chaos.rng.expovariate(1.0))
        if reply.fault in {Fault.RESET, Fault.CLOSE, Fault.TRUNCATE}:
            raise EndpointUnreachableError(address.says("broke the connection"))
        if reply.fault in {Fault.HANG, Fault.TRICKLE}:
            await anyio.sleep(config.total_timeout_s)
            raise too_slow(address, config, config.total_timeout_s)
        if reply.fault is Fault.ENDLESS:
            raise too_large(address, config)
        if reply.status != 200:
            raise error_of(reply.status, reply.headers, reply.body, address)
        return completion_of(reply.body, request, address, 1.0)

    return Behaving(behave, config.name)
