"""The GPU lease: who shares the GPU sleeps while the block runs and is awake afterwards, whatever fails when."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from seedbed.core.errors import ConfigError, GpuLeaseError
from seedbed.core.load import parse_config
from seedbed.core.records import ServingState
from seedbed.endpoints.fleet import beside
from seedbed.endpoints.scripted_server import Fault, Reply, serve_scripted
from seedbed.endpoints.scripted_vllm import ScriptedVllm
from seedbed.service import lease
from seedbed.service.context import Context, writing
from seedbed.service.in_service import read_in_service
from seedbed.service.init import create_workspace
from seedbed.service.keeper import Keeper
from seedbed.service.lease import check_lease, leased_gpu, sleepers, wake_sleepers
from seedbed.service.live import Live
from seedbed.service.promotion import promote
from seedbed.service.workspace import open_workspace
from tests.service.test_serving import BASE, add_adapter

Steps = Callable[[Context], Awaitable[object]]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "FIRST_PAUSE_S", 0.001)
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="base")
    with writing(open_workspace(tmp_path / "w")) as context:
        yield context


@asynccontextmanager
async def sharing(context: Context, *servers: ScriptedVllm) -> AsyncIterator[Context]:
    """Serve all of them, and yield the workspace with an endpoint for each."""
    async with beside() as tasks:
        urls = [await tasks.start(serve_one, server) for server in servers]
        lines = ['teacher = "e0"', 'serving = "e0"']
        for number, url in enumerate(urls):
            lines += ["[[endpoints]]", f'name = "e{number}"', f"base_url = {json.dumps(url)}", 'model = "base"']
            lines += [f'weights = "{BASE}"', "shares_gpu = true"]
        (context.workspace.folder / "seedbed.toml").write_text("\n".join(lines) + "\n")
        opened = open_workspace(context.workspace.folder)
        yield Context(opened, context.pool, context.events, context.secrets, context.prompts)


async def serve_one(server: ScriptedVllm, *, task_status: anyio.abc.TaskStatus[str]) -> None:
    async with serve_scripted(respond=server) as url:
        task_status.started(url)
        await anyio.sleep_forever()


def run(context: Context, servers: list[ScriptedVllm], steps: Steps) -> None:
    async def with_servers() -> None:
        async with sharing(context, *servers) as now:
            await steps(now)

    anyio.run(with_servers)


def test_all_that_share_the_gpu_sleep_for_the_block_and_are_awake_after_it(context: Context) -> None:
    servers = [ScriptedVllm(), ScriptedVllm()]

    async def steps(now: Context) -> None:
        async with leased_gpu(now):
            assert [one.is_asleep for one in servers] == [True, True]
            assert sleepers(now) == ["e0", "e1"]
        assert [one.is_asleep for one in servers] == [False, False]
        assert sleepers(now) == []

    run(context, servers, steps)
    assert "POST /sleep" in servers[0].calls


def test_they_are_woken_when_the_block_fails(context: Context) -> None:
    server = ScriptedVllm()

    async def steps(now: Context) -> None:
        async with leased_gpu(now):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run(context, [server], steps)
    assert not server.is_asleep


FAULTS = [Reply(b"", fault=Fault.RESET), Reply(b"{}", 500), Reply(b'{"detail":"Not Found"}', 404)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/sleep", "/is_sleeping"])
def test_one_that_will_not_sleep_stops_the_lease_and_wakes_the_others(
    context: Context, path: str, fault: Reply
) -> None:
    servers = [ScriptedVllm(), ScriptedVllm()]
    servers[1].faults[path].append(fault)

    async def steps(now: Context) -> None:
        async with leased_gpu(now):
            pytest.fail("the block must not run")

    with pytest.raises(GpuLeaseError, match="could not be had"):
        run(context, servers, steps)
    assert [one.is_asleep for one in servers] == [False, False]
    assert sleepers(context) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/wake_up", "/is_sleeping"])
def test_a_fault_while_waking_is_tried_again(context: Context, path: str, fault: Reply) -> None:
    server = ScriptedVllm()

    async def steps(now: Context) -> None:
        async with leased_gpu(now):
            server.faults[path] += [fault, fault]
        assert (server.is_asleep, sleepers(now)) == (False, [])

    run(context, [server], steps)


def test_one_that_sleeps_on_is_an_alarm_and_is_woken_at_a_later_look(context: Context) -> None:
    server, live = ScriptedVllm(), Live()

    async def steps(now: Context) -> None:
        keeper = Keeper(now, live)
        async with keeper.gpu():
            server.faults["/wake_up"] += [Reply(b"{}", 500)] * (lease.WAKE_TRIES + 1)
        assert sleepers(now) == ["e0"]
        assert "may sleep still" in live.alarms.standing[0]
        async with keeper.alone:
            await keeper.look()
        assert (server.is_asleep, sleepers(now), live.alarms.standing) == (False, [], ())

    run(context, [server], steps)


def test_a_service_killed_in_the_lease_wakes_them_when_it_starts_again(context: Context) -> None:
    server = ScriptedVllm()

    async def steps(now: Context) -> None:
        lease._note(now, ["e0"])
        server.is_asleep = True  # as a process leaves it that is killed in the block
        assert await wake_sleepers(now) == {}
        assert (server.is_asleep, sleepers(now)) == (False, [])

    run(context, [server], steps)


def test_a_server_that_someone_else_put_to_sleep_is_left_asleep(context: Context) -> None:
    server = ScriptedVllm()
    server.is_asleep = True

    async def steps(now: Context) -> None:
        await wake_sleepers(now)

    run(context, [server], steps)
    assert server.is_asleep


def test_after_the_lease_the_adapter_is_loaded_and_tried_again(context: Context) -> None:
    server = ScriptedVllm()

    async def steps(now: Context) -> None:
        promote(now, add_adapter(now, 0), "better")
        keeper = Keeper(now, Live())
        async with keeper.alone:
            await keeper.look()
        server.calls.clear()
        async with keeper.gpu():
            pass
        assert read_in_service(now.workspace).serving.state is ServingState.LOADED

    run(context, [server], steps)
    done = [call.split()[1] for call in server.calls]
    assert done.index("/sleep") < done.index("/wake_up") < done.index("/v1/load_lora_adapter")
    assert done[-1] == "/v1/completions"


def test_a_server_without_development_mode_is_refused_before_anything_is_spent(context: Context) -> None:
    with pytest.raises(ConfigError, match="VLLM_SERVER_DEV_MODE=1"):
        run(context, [ScriptedVllm(is_development=False)], check_lease)


@pytest.mark.parametrize("host", ["10.0.0.4", "gpu.example.org", "[2001:db8::1]", "127.0.0.1.example.org"])
def test_sharing_a_gpu_is_for_loopback_only(host: str) -> None:
    endpoint = {"name": "e", "base_url": f"http://{host}:8000/v1", "model": "m", "shares_gpu": True}
    with pytest.raises(ConfigError, match="loopback only"):
        parse_config({"endpoints": [endpoint]}, "seedbed.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_may_share_a_gpu(host: str) -> None:
    endpoint = {"name": "e", "base_url": f"http://{host}:8000/v1", "model": "m", "shares_gpu": True}
    assert parse_config({"endpoints": [endpoint]}, "seedbed.toml").endpoints[0].shares_gpu


def test_a_managed_server_needs_no_lease() -> None:
    with pytest.raises(ConfigError, match="remove shares_gpu"):
        parse_config(
            {"endpoints": [{"name": "e", "managed": "vllm", "model": "m", "shares_gpu": True}]}, "seedbed.toml"
        )
