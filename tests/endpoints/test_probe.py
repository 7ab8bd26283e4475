import json
from typing import Any

import anyio
import pytest

from seedbed.endpoints.probe import common_to, probe
from seedbed.endpoints.protocol import Capabilities
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from tests.endpoints.parts import make_config

PROSE = "The sea is wide."


class Server:
    """A server with these abilities; one it lacks is ignored, or answered 400 where `is_strict`."""

    def __init__(self, *abilities: str, is_strict: bool = False) -> None:
        self.abilities, self.is_strict = abilities, is_strict
        self.version = "0.32.0"
        self.asked: list[dict[str, Any]] = []

    def __call__(self, received: Received) -> Reply:
        if received.path == "/v1/models":
            return Reply(b'{"data": [{"id": "scripted"}, {"id": "other"}]}')
        if received.path == "/version":
            return Reply(json.dumps({"version": self.version} if self.version else {}).encode())
        if received.method != "POST":
            return Reply(b"{}", 404)
        asked = json.loads(received.body)
        self.asked.append(asked)
        if received.path == "/v1/completions":
            has = "completions" in self.abilities
            return Reply(b'{"choices": [{"text": " 5 6"}]}') if has else Reply(b'{"error": "no such path"}', 404)
        return self._chat(asked)

    def _chat(self, asked: dict[str, Any]) -> Reply:
        wanted = {"json_schema": "response_format", "stop": "stop", "n": "n", "logprobs": "logprobs"}
        lacking = [key for ability, key in wanted.items() if key in asked and ability not in self.abilities]
        if lacking and self.is_strict:
            return Reply(json.dumps({"error": {"message": f"{lacking[0]} is not supported"}}).encode(), 400)
        text = "1 2 3 4 5 6 7 8 9" if "Count" in asked["messages"][0]["content"] else PROSE
        if "response_format" in asked and "json_schema" in self.abilities:
            text = '{"colour": "red", "count": 3}'
        if "stop" in asked and "stop" in self.abilities:
            text = text.partition(asked["stop"][0])[0]
        choice: dict[str, Any] = {"message": {"content": text}, "finish_reason": "stop"}
        if asked.get("logprobs") and "logprobs" in self.abilities:
            choice["logprobs"] = {"content": [{"token": "blue", "logprob": -0.1}]}
        answer: dict[str, Any] = {"choices": [choice] * (asked.get("n", 1) if "n" in self.abilities else 1)}
        if "usage" in self.abilities:
            answer["usage"] = {"prompt_tokens": 9, "completion_tokens": 4}
        return Reply(json.dumps(answer).encode())


ALL = ("completions", "json_schema", "stop", "n", "logprobs", "usage")


def probed(server: Server) -> Capabilities:
    async def main() -> Capabilities:
        async with serve_scripted(respond=server) as base_url:
            return await probe(make_config(base_url=base_url), base_url)

    return anyio.run(main)


def test_a_server_that_can_do_all_is_found_to() -> None:
    found = probed(Server(*ALL))
    assert found.problems == ()
    assert all(getattr(found, ability) for ability in ("answers", "chat", *ALL))
    assert (found.models, found.server, found.version) == (("scripted", "other"), "vllm", "0.32.0")


@pytest.mark.parametrize("lacking", ALL)
@pytest.mark.parametrize("is_strict", [True, False])
def test_an_ability_that_is_refused_or_ignored_is_missing_with_a_reason(lacking: str, is_strict: bool) -> None:
    found = probed(Server(*(ability for ability in ALL if ability != lacking), is_strict=is_strict))
    assert [ability for ability in ALL if not getattr(found, ability)] == [lacking]
    assert [problem.partition(":")[0] for problem in found.problems] == [lacking]


def test_a_seed_is_never_sent() -> None:
    server = Server(*ALL)
    probed(server)
    assert server.asked
    assert not any("seed" in asked for asked in server.asked)


def test_a_server_that_is_not_there_has_nothing_but_a_problem() -> None:
    found = anyio.run(probe, make_config(), "http://127.0.0.1:1/v1")
    assert not found.answers
    assert "does not answer" in found.problems[0]


def test_a_server_that_fails_at_everything_still_gives_a_report() -> None:
    def respond(received: Received) -> Reply:
        return Reply(b'{"data": [{"id": "scripted"}]}') if received.method == "GET" else Reply(b"oops", 500)

    async def main() -> Capabilities:
        async with serve_scripted(respond=respond) as base_url:
            return await probe(make_config(base_url=base_url), base_url)

    found = anyio.run(main)
    assert found.answers
    assert not found.chat
    assert all("500 oops" in problem or "told" in problem for problem in found.problems)


def test_a_fleet_can_do_what_all_of_it_can() -> None:
    one = Capabilities(answers=True, models=("a",), server="vllm", chat=True, json_schema=True, n=True)
    two = Capabilities(answers=True, models=("b",), server="llama.cpp", chat=True, n=True, problems=("json_schema: x",))
    both = common_to([one, two])
    assert (both.chat, both.json_schema, both.n) == (True, False, True)
    assert (both.models, both.server, both.problems) == (("a", "b"), "vllm, llama.cpp", ("json_schema: x",))
