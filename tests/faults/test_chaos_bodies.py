"""Whatever a server sends, every request ends as an answer or as a failure with its reason, and nothing is stuck."""

import random
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from seedbed.core.config import PoolConfig
from seedbed.core.errors import EndpointError
from seedbed.core.events import Event
from seedbed.core.records import Completion, Message, Request
from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.endpoints.site import Site, transport_to
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from tests.endpoints.parts import Behaving, ask_all, fleet_of, make_completion, make_config, make_request
from tests.faults.chaos import KINDS, Chaos, on_virtual_time
from tests.faults.simulation import World, answer_to, simulate
from tests.faults.test_simulation import check_world, memory
from tests.virtual_time import run_virtually


def test_a_run_through_chaos_ends_with_every_request_and_row_accounted_for() -> None:
    """Real fleet, engine, parser, filters and pool; the process dies on the way too."""
    kinds: set[str] = set()
    for seed in range(12):
        chaoses: list[Chaos] = []

        def endpoints(world: World, chaoses: list[Chaos] = chaoses) -> list[Behaving]:
            chaoses += [Chaos(world.rng, share, lambda request: answer_to(request, world.rng)) for share in (0.2, 0.6)]
            return [
                on_virtual_time(chaos, make_config(f"e{number}", total_timeout_s=60))
                for number, chaos in enumerate(chaoses)
            ]

        with tempfile.TemporaryDirectory(dir=memory()) as folder:
            world = simulate(seed, Path(folder), endpoints)
            check_world(world)
            _every_request_ended_with_a_reason(world)
        kinds |= {kind for chaos in chaoses for kind in chaos.sent}
    assert kinds >= set(KINDS), f"never sent: {set(KINDS) - kinds}"


def _every_request_ended_with_a_reason(world: World) -> None:
    """Of the last life, which nothing killed: what it asked has an answer or a failure that says why."""
    with Pool.open(world.folder, PoolConfig(), read_only=True) as pool:
        waiting = {request.id for request in pool.waiting_requests(1000)}
        assert not waiting & world.sent_in_last_life, "a request neither answered nor failed"
        assert check(pool) == []


@pytest.mark.parametrize("transport", ["aiohttp", "openai"])
def test_on_real_sockets_every_request_ends_and_no_place_stays_taken(transport: str) -> None:
    async def main() -> None:
        chaos = Chaos(random.Random(7), 1.0, lambda _: "blue", in_turn=True)

        def request_of(asked: dict[str, Any]) -> Request:
            return Request(id="r", purpose="chaos", messages=(Message(role="user", content=str(asked["messages"])),))

        async with serve_scripted(respond=lambda received: chaos.respond(received, request_of)) as base_url:
            config = make_config(
                transport=transport,
                base_url=base_url,
                first_byte_timeout_s=4.0,
                total_timeout_s=5.0,
                max_response_bytes=100_000,
            )
            endpoint = transport_to(Site(config, base_url, SecretStr("sk-canary")))
            ended: dict[str, object] = {}

            async def one(request: Request) -> None:
                try:
                    ended[request.id] = await endpoint.complete(request)
                except EndpointError as error:
                    ended[request.id] = error

            requests = [make_request() for _ in range(5 * len(KINDS))]
            async with anyio.create_task_group() as tasks:
                for request in requests:
                    tasks.start_soon(one, request)
            await endpoint.aclose()
        assert set(ended) == {request.id for request in requests}
        assert set(chaos.sent) == set(KINDS)
        assert all(isinstance(end, Completion) or "sk-canary" not in str(end) for end in ended.values())
        answered = sum(isinstance(end, Completion) for end in ended.values())
        readable = ("null content", "reasoning alone", "reasoning beside", "thinking inside", "cut text",
                    "parts", "wrong model", "duplicate", "no usage", "odd usage", "control characters")  # fmt: skip
        assert answered >= sum(chaos.sent[kind] for kind in readable)

    anyio.run(main)


def test_a_server_that_answers_under_another_model_name_is_told_of_once() -> None:
    told: list[Event] = []

    async def behave(request: Request) -> Completion:
        return make_completion(request, model="another-model")

    async def main() -> None:
        async with fleet_of(Behaving(behave), told=told) as fleet:
            await ask_all(fleet, [make_request() for _ in range(5)])

    run_virtually(main)
    (event,) = [event for event in told if event.kind == "endpoint.other_model"]
    assert event.fields == {"endpoint": "local", "asked": "scripted", "answered": "another-model"}
