"""Whether an adapter does something is told from answers the base gives twice alike, else from log probabilities."""

from itertools import cycle

import anyio
import orjson
import pytest

from seedbed.core.errors import EndpointRejectedError, EndpointResponseError
from seedbed.endpoints.adapters import Effect, effect_of, load_adapter
from seedbed.endpoints.control import controlling
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from seedbed.endpoints.scripted_vllm import ScriptedVllm

Told = tuple[str, list[float] | None]


def effect(base: list[Told], tuned: Told, questions: int = 1) -> Effect:
    """Ask a server that gives the base's answers in turn and the adapter's always."""
    turns = cycle(base)

    def respond(received: Received) -> Reply:
        text, logprobs = next(turns) if orjson.loads(received.body)["model"] == "base" else tuned
        told = {"token_logprobs": logprobs} if logprobs is not None else None
        return Reply(orjson.dumps({"choices": [{"text": text, "logprobs": told}]}))

    async def run() -> Effect:
        async with serve_scripted(respond=respond) as url, controlling(url, "e") as control:
            return await effect_of(control, {"model": "base"}, {"model": "adapter"}, ["question"] * questions)

    return anyio.run(run)


def test_another_text_is_an_effect() -> None:
    found = effect([("a", None)], ("b", None), questions=2)
    assert (found.is_seen, str(found)) == (True, "2 of 2 answers differ from the base's")


def test_a_base_that_wavers_by_itself_proves_nothing() -> None:
    found = effect([("a", None), ("b", None)], ("c", None))
    assert (found.is_seen, found.steady) == (False, 0)


@pytest.mark.parametrize(
    ("again", "tuned", "is_seen"),
    [
        ([-1.0, -2.0], [-1.0, -2.0], False),
        ([-1.0, -2.0], [-1.1, -2.3], True),  # mean change 0.2, no noise
        ([-1.0, -2.1], [-1.1, -2.3], False),  # noise 0.05, of which 0.2 is not more than five times
        ([-1.0, -2.1], [-1.2, -2.4], True),  # 0.3 is
    ],
)
def test_equal_texts_are_told_apart_by_log_probabilities_beyond_noise(
    again: list[float], tuned: list[float], is_seen: bool
) -> None:
    assert effect([("a", [-1.0, -2.0]), ("a", again)], ("a", tuned)).is_seen is is_seen


def test_an_answer_without_choices_is_said() -> None:
    async def run() -> None:
        reply = Reply(b'{"choices": []}')
        async with serve_scripted(respond=lambda _: reply) as url, controlling(url, "e") as control:
            await effect_of(control, {"model": "base"}, {"model": "adapter"}, ["question"])

    with pytest.raises(EndpointResponseError, match="without choices"):
        anyio.run(run)


def test_a_name_that_is_taken_is_refused_unless_it_replaces() -> None:
    server = ScriptedVllm()

    async def run() -> None:
        async with serve_scripted(respond=server) as url, controlling(url, "e") as control:
            await load_adapter(control, "one", "/a")
            await load_adapter(control, "one", "/b", replaces=True)
            await load_adapter(control, "one", "/c")

    with pytest.raises(EndpointRejectedError, match="already been loaded"):
        anyio.run(run)
    assert server.adapters == {"one": "/b"}
