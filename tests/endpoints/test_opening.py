import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from seedbed.core.config import BudgetConfig, Secrets
from seedbed.core.errors import EndpointError, EndpointRejectedError, EndpointUnreachableError
from seedbed.core.events import Events
from seedbed.core.records import Completion
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.scripted_server import Received, Reply, ScriptedServer, serve_scripted
from tests.endpoints.parts import ask_all, make_config, make_request


@asynccontextmanager
async def opened(base_url: str, key: str = "", **settings: Any) -> AsyncIterator[Fleet]:
    config = make_config(base_url=base_url, **settings)
    async with open_fleet(
        [config],
        secrets=Secrets(api_keys={"local": SecretStr(key)} if key else {}),
        budget=BudgetConfig(),
        max_attempts=2,
        log_folder=Path("no-logs"),
        events=Events(),
    ) as fleet:
        yield fleet


def refused(words: str, kind: type[EndpointError], base_url: str = "", **settings: Any) -> None:
    """Open a fleet at a server with key "right" and expect this error."""

    async def main() -> None:
        async with serve_scripted(key="right") as served_url:
            with pytest.raises(kind, match=words) as caught:
                async with opened(base_url or served_url, **settings):
                    raise AssertionError("it opened")
            assert "\n" not in str(caught.value)

    anyio.run(main)


def test_an_open_fleet_answers() -> None:
    async def main() -> None:
        async with serve_scripted(key="right") as base_url, opened(base_url, key="right") as fleet:
            ended = await ask_all(fleet, [make_request() for _ in range(300)])
        assert all(isinstance(end, Completion) and end.text for end in ended.values())

    anyio.run(main)


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    words = (
        rf'endpoint "local" \(http://127.0.0.1:{port}/v1/models\) does not answer: connection refused; is the server'
    )
    refused(words, EndpointUnreachableError, f"http://127.0.0.1:{port}/v1")


def test_a_wrong_key_is_refused_before_work_begins() -> None:
    refused("refuses the key", EndpointRejectedError, key="wrong")


def test_a_missing_key_is_refused_before_work_begins() -> None:
    refused("refuses the key", EndpointRejectedError)


def test_a_model_that_is_not_served_is_refused_with_those_that_are() -> None:
    refused('does not serve model "other"; it serves "scripted"', EndpointRejectedError, key="right", model="other")


def test_a_wrong_key_is_found_where_the_model_list_is_open_to_all() -> None:
    scripted = ScriptedServer(key="right")

    def respond(received: Received) -> Reply:
        if received.path == "/v1/models":
            return Reply(b'{"data": [{"id": "scripted"}]}')
        return scripted(received)

    async def main() -> None:
        async with serve_scripted(respond=respond) as base_url:
            with pytest.raises(EndpointRejectedError, match="refuses the key"):
                async with opened(base_url, key="wrong"):
                    pass

    anyio.run(main)


def test_a_server_without_a_model_list_is_asked_for_a_token() -> None:
    scripted = ScriptedServer()
    asked: list[dict[str, Any]] = []

    def respond(received: Received) -> Reply:
        if received.path == "/v1/models":
            return Reply(b"{}", 404)
        if received.method == "POST":
            asked.append(json.loads(received.body))
        return scripted(received)

    async def main() -> None:
        async with serve_scripted(respond=respond) as base_url:
            async with opened(base_url):
                pass
            with pytest.raises(EndpointRejectedError, match="other"):
                async with opened(base_url, model="other"):
                    pass

    anyio.run(main)
    assert [one["max_tokens"] for one in asked] == [1, 1]


def test_what_the_block_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with serve_scripted() as base_url, opened(base_url):
                raise ZeroDivisionError

    anyio.run(main)


def test_an_ollama_name_without_its_tag_is_served() -> None:
    def respond(received: Received) -> Reply:
        return Reply(b'{"data": [{"id": "llama3:latest"}]}')

    async def main() -> None:
        async with serve_scripted(respond=respond) as base_url, opened(base_url, model="llama3"):
            pass

    anyio.run(main)
