"""Both transports against the same real server, with everything that goes wrong on a wire."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from seedbed.core.errors import (
    EndpointError,
    EndpointRejectedError,
    EndpointResponseError,
    EndpointThrottledError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from seedbed.core.records import FinishReason
from seedbed.endpoints.protocol import Endpoint
from seedbed.endpoints.scripted_server import Fault, Received, Reply, serve_scripted
from seedbed.endpoints.site import Site, transport_to
from tests.endpoints.parts import make_config, make_request

pytestmark = pytest.mark.parametrize("transport", ["aiohttp", "openai"])
ANSWER = {
    "model": "scripted",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "blue"}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2},
}


def ok(**settings: Any) -> Reply:
    return Reply(json.dumps(ANSWER).encode(), **settings)


@asynccontextmanager
async def talking(
    transport: str, respond: Callable[[Received], Reply], key: str = "", **settings: Any
) -> AsyncIterator[Endpoint]:
    """Yield a transport to a server that responds so."""
    async with serve_scripted(respond=respond) as base_url:
        config = make_config(transport=transport, base_url=base_url, **settings)
        endpoint = transport_to(Site(config, base_url, SecretStr(key) if key else None))
        try:
            yield endpoint
        finally:
            await endpoint.aclose()


def fails_with(kind: type[EndpointError], words: str, transport: str, reply: Reply, **settings: Any) -> None:
    """Ask once and expect this error."""

    async def main() -> None:
        async with talking(transport, lambda _: reply, **settings) as endpoint:
            with pytest.raises(EndpointError, match=words) as caught:
                await endpoint.complete(make_request())
            assert type(caught.value) is kind

    anyio.run(main)


def test_a_request_is_sent_as_asked_and_its_answer_read(transport: str) -> None:
    seen: list[Received] = []

    def respond(received: Received) -> Reply:
        seen.append(received)
        return ok()

    async def main() -> None:
        async with talking(transport, respond, key="sk-canary") as endpoint:
            completion = await endpoint.complete(make_request("Name a colour.", temperature=0.5, stop=("\n",)))
        assert (completion.text, completion.finish_reason) == ("blue", FinishReason.STOP)
        assert (completion.prompt_tokens, completion.completion_tokens) == (7, 2)

    anyio.run(main)
    assert (seen[0].method, seen[0].path) == ("POST", "/v1/chat/completions")
    assert seen[0].headers["authorization"] == "Bearer sk-canary"
    assert json.loads(seen[0].body) == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Name a colour."}],
        "temperature": 0.5,
        "max_tokens": 1024,
        "stop": ["\n"],
    }


def test_parameters_are_sent_under_the_names_that_the_server_knows(transport: str) -> None:
    seen: list[Received] = []

    def respond(received: Received) -> Reply:
        seen.append(received)
        return ok()

    async def main() -> None:
        words = {"max_tokens": "max_completion_tokens", "temperature": ""}
        async with talking(transport, respond, parameters=words) as endpoint:
            await endpoint.complete(make_request("Name a colour.", temperature=0.5, top_p=0.9, max_tokens=7))

    anyio.run(main)
    assert json.loads(seen[0].body) == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Name a colour."}],
        "max_completion_tokens": 7,
        "top_p": 0.9,
    }


def test_one_try_is_one_request(transport: str) -> None:
    seen: list[Received] = []

    def respond(received: Received) -> Reply:
        seen.append(received)
        return Reply(b"{}", 500)

    async def main() -> None:
        async with talking(transport, respond) as endpoint:
            with pytest.raises(EndpointResponseError):
                await endpoint.complete(make_request())

    anyio.run(main)
    assert len(seen) == 1


def test_a_throttle_carries_the_wait(transport: str) -> None:
    async def main() -> None:
        async with talking(transport, lambda _: Reply(b"{}", 429, {"Retry-After": "7"})) as endpoint:
            with pytest.raises(EndpointThrottledError) as caught:
                await endpoint.complete(make_request())
            assert caught.value.retry_after_s == 7

    anyio.run(main)


def test_a_wrong_key_is_rejected_without_showing_it(transport: str) -> None:
    async def main() -> None:
        refusal = Reply(b'{"error": {"message": "Incorrect API key provided: sk-canary"}}', 401)
        async with talking(transport, lambda _: refusal, key="sk-canary") as endpoint:
            with pytest.raises(EndpointRejectedError, match="refuses the key") as caught:
                await endpoint.complete(make_request())
            assert "sk-canary" not in f"{caught.value} {caught.value!r}"

    anyio.run(main)


def test_a_redirect_is_not_followed(transport: str) -> None:
    seen: list[str] = []

    def respond(received: Received) -> Reply:
        seen.append(received.path)
        return Reply(b"", 307, {"Location": "http://169.254.169.254/latest/meta-data"})

    async def main() -> None:
        async with talking(transport, respond) as endpoint:
            with pytest.raises(EndpointRejectedError, match="set base_url"):
                await endpoint.complete(make_request())

    anyio.run(main)
    assert seen == ["/v1/chat/completions"]


def test_a_reset_connection_is_unreachable(transport: str) -> None:
    fails_with(EndpointUnreachableError, "local", transport, ok(fault=Fault.RESET))


def test_a_connection_closed_without_an_answer_is_unreachable(transport: str) -> None:
    fails_with(EndpointUnreachableError, "local", transport, ok(fault=Fault.CLOSE))


def test_a_body_cut_off_is_unreachable(transport: str) -> None:
    fails_with(EndpointUnreachableError, "broke the connection", transport, ok(fault=Fault.TRUNCATE))


def test_a_server_that_never_answers_hits_the_first_deadline(transport: str) -> None:
    reply = ok(fault=Fault.HANG)
    fails_with(EndpointTimeoutError, "first_byte_timeout_s", transport, reply, first_byte_timeout_s=0.3)


def test_a_server_that_trickles_hits_the_last_deadline(transport: str) -> None:
    reply = ok(fault=Fault.TRICKLE)
    fails_with(EndpointTimeoutError, "total_timeout_s", transport, reply, first_byte_timeout_s=60, total_timeout_s=0.5)


def test_a_body_without_end_is_cut_off_at_the_cap(transport: str) -> None:
    reply = ok(fault=Fault.ENDLESS)
    fails_with(EndpointResponseError, "more than 100000 bytes", transport, reply, max_response_bytes=100_000)


def test_prose_instead_of_json_is_shown(transport: str) -> None:
    fails_with(EndpointResponseError, "<html>busy", transport, Reply(b"<html>busy</html>"))


def test_no_choices_are_no_answer(transport: str) -> None:
    fails_with(EndpointResponseError, "without choices", transport, Reply(b'{"choices": []}'))


def test_a_port_where_nobody_listens_says_so(transport: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

    async def main() -> None:
        endpoint = transport_to(Site(make_config(transport=transport, base_url=base_url), base_url))
        with pytest.raises(EndpointUnreachableError, match="connection refused"):
            await endpoint.complete(make_request())
        await endpoint.aclose()

    anyio.run(main)


def test_a_name_that_nobody_knows_says_so(transport: str) -> None:
    base_url = "http://no-such-host.invalid/v1"

    async def main() -> None:
        endpoint = transport_to(Site(make_config(transport=transport, base_url=base_url), base_url))
        with pytest.raises(EndpointUnreachableError, match="no-such-host"):
            await endpoint.complete(make_request())
        await endpoint.aclose()

    anyio.run(main)


def test_a_cancelled_request_closes_its_socket(transport: str) -> None:
    """A server that computes for nobody stops only when the socket closes."""

    async def main() -> None:
        gone = anyio.Event()

        async def hold(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                async for _ in stream:
                    pass
            gone.set()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        base_url = f"http://127.0.0.1:{port}/v1"
        endpoint = transport_to(Site(make_config(transport=transport, base_url=base_url), base_url))
        async with listener, anyio.create_task_group() as server:
            server.start_soon(listener.serve, hold)
            with anyio.move_on_after(0.3):
                await endpoint.complete(make_request())
            with anyio.fail_after(10):
                await gone.wait()
            server.cancel_scope.cancel()
        await endpoint.aclose()

    anyio.run(main)


def test_proxies_of_the_environment_are_not_used(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def main() -> None:
        async with talking(transport, lambda _: ok()) as endpoint:
            assert (await endpoint.complete(make_request())).text == "blue"

    anyio.run(main)
