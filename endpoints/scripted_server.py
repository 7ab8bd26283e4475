"""The scripted endpoint as a real HTTP server, OpenAI-compatible, with the faults of the wire at will.

    python -m seedbed.endpoints.scripted_server --port 8000 --latency-s 2

It is an `asyncio.Protocol` and no framework, so that in measurements it is not the limit.
"""

import argparse
import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeAlias, cast

import anyio
import orjson

from seedbed.core.errors import EndpointError, EndpointRejectedError, EndpointThrottledError
from seedbed.core.records import Message, Request, Sampling
from seedbed.endpoints.scripted import Answer, plausible_answers
from seedbed.endpoints.wire import estimated_prompt_tokens, estimated_tokens


class Fault(StrEnum):
    """What goes wrong on the wire."""

    NONE = "none"
    RESET = "reset"
    """The connection is reset instead of an answer."""
    CLOSE = "close"
    """… or closed."""
    HANG = "hang"
    """Nothing ever comes."""
    TRICKLE = "trickle"
    """A byte every tenth of a second."""
    TRUNCATE = "truncate"
    """Half of the body, then the connection is closed."""
    ENDLESS = "endless"
    """A body without end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers to one request."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    fault: Fault = Fault.NONE


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


Respond: TypeAlias = Callable[[Received], Reply]


class ScriptedServer:
    """OpenAI-compatible answers: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/health`, `/metrics`."""

    def __init__(
        self, answer: Answer | None = None, *, model: str = "scripted", latency_s: float = 0.0, key: str = ""
    ) -> None:
        self._answer, self._model = answer or plausible_answers(), model
        self._latency_s, self._key = latency_s, key
        self._numbers = itertools.count()

    def __call__(self, received: Received) -> Reply:
        path = received.path.partition("?")[0]
        if path == "/health":
            return Reply(b"{}")
        if self._key and received.headers.get("authorization") != f"Bearer {self._key}":
            return _failure(401, "Incorrect API key provided")
        if path == "/v1/models":
            return Reply(orjson.dumps({"object": "list", "data": [{"id": self._model, "object": "model"}]}))
        if path not in {"/v1/chat/completions", "/v1/completions"} or received.method != "POST":
            return _failure(404, f"no such path: {path}")
        try:
            asked = orjson.loads(received.body)
        except orjson.JSONDecodeError as error:
            return _failure(400, f"the body is not JSON: {error}")
        if asked.get("model") != self._model:
            return _failure(404, f"The model `{asked.get('model')}` does not exist.")
        return self._complete(asked, is_chat=path.endswith("chat/completions"))

    def _complete(self, asked: dict[str, Any], *, is_chat: bool) -> Reply:
        request = _request_of(asked, f"wire-{next(self._numbers)}")
        text = self._answer(request)
        if isinstance(text, EndpointError):
            return _failure_of(text)
        for stop in request.sampling.stop:
            text = text.partition(stop)[0]
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        used = {"prompt_tokens": estimated_prompt_tokens(request), "completion_tokens": estimated_tokens(text)}
        body = {
            "id": request.id,
            "object": "chat.completion" if is_chat else "text_completion",
            "created": 0,
            "model": self._model,
            "choices": [
                {"index": index, "finish_reason": "stop", **content} for index in range(int(asked.get("n") or 1))
            ],
            "usage": used | {"total_tokens": sum(used.values())},
        }
        return Reply(orjson.dumps(body), delay_s=self._latency_s)


@asynccontextmanager
async def serve_scripted(
    answer: Answer | None = None,
    *,
    model: str = "scripted",
    latency_s: float = 0.0,
    key: str = "",
    respond: Respond | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Serve until the block ends and yield the base URL; `respond` takes over everything, for faults."""
    respond = respond or ScriptedServer(answer, model=model, latency_s=latency_s, key=key)
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(respond, connections), host, port, backlog=4096)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()
        await server.wait_closed()


class _Connection(asyncio.Protocol):
    """One keep-alive connection: requests are answered one after another."""

    def __init__(self, respond: Respond, connections: "set[_Connection]") -> None:
        self._respond, self._connections = respond, connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol says so
        if self._timer:
            self._timer.cancel()
        self._transport = None
        self._connections.discard(self)

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (received := _parsed(self._buffer)) is not None:
            self._answer(self._respond(received))

    def _answer(self, reply: Reply) -> None:
        if reply.fault is Fault.HANG:
            return
        if reply.delay_s:
            self._later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if not self._transport:
            return
        if reply.fault is Fault.RESET:
            self._transport.abort()
        elif reply.fault is Fault.CLOSE:
            self._transport.close()
        elif reply.fault is Fault.TRICKLE:
            self._trickle(_head(reply) + reply.body)
        elif reply.fault is Fault.TRUNCATE:
            self._transport.write(_head(reply) + reply.body[: len(reply.body) // 2])
            self._transport.close()
        elif reply.fault is Fault.ENDLESS:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
            self._flood()
        else:
            self._transport.write(_head(reply) + reply.body)

    def _trickle(self, rest: bytes) -> None:
        if self._transport and rest:
            self._transport.write(rest[:1])
            self._later(0.1, self._trickle, rest[1:])

    def _flood(self) -> None:
        if self._transport and not self._transport.is_closing():
            if self._transport.get_write_buffer_size() < 1_000_000:
                self._transport.write(b" " * 65_536)
            self._later(0.0, self._flood)

    def _later(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, what, *arguments)


def _parsed(buffer: bytearray) -> Received | None:
    """Take one whole request off the buffer, None while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if len(buffer) < end + 4 + size:
        return None
    body = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    method, path, _ = first.split(" ", 2)
    return Received(method, path, headers, body)


def _head(reply: Reply) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n{lines}\r\n".encode("latin-1")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


def _failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(orjson.dumps({"error": {"message": message, "code": status}}), status, headers or {})


def _failure_of(error: EndpointError) -> Reply:
    if isinstance(error, EndpointThrottledError):
        wait = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
        return _failure(429, str(error), wait)
    if isinstance(error, EndpointRejectedError):
        return _failure(error.status or 400, str(error))
    return _failure(500, str(error))


def _request_of(asked: dict[str, Any], identity: str) -> Request:
    messages = asked.get("messages") or [{"role": "user", "content": str(asked.get("prompt", ""))}]
    schema = ((asked.get("response_format") or {}).get("json_schema") or {}).get("schema")
    stop = asked.get("stop") or ()
    sampling = Sampling(
        temperature=asked.get("temperature", 1.0),
        max_tokens=asked.get("max_tokens") or 1024,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        json_schema=schema,
    )
    turns = tuple(Message(role=turn["role"], content=str(turn["content"])) for turn in messages)
    return Request(id=identity, purpose="wire", messages=turns, sampling=sampling)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--key", default="", help="demand this key; a made-up one, since anyone can list processes")
    chosen = parser.parse_args()

    async def serve() -> None:
        answers = plausible_answers(chosen.seed)
        server = serve_scripted(
            answers,
            model=chosen.model,
            latency_s=chosen.latency_s,
            key=chosen.key,
            host=chosen.host,
            port=chosen.port,
        )
        async with server as base_url:
            sys.stdout.write(f"{base_url}\n")
            sys.stdout.flush()
            await anyio.sleep_forever()

    anyio.run(serve, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
