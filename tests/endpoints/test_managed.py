"""Managed servers: a stand-in for vLLM as a real child process, and the real llama.cpp."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.errors import ConfigError, EndpointUnreachableError
from seedbed.core.events import Event, Events
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.managed import bound_log, launch_of
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.protocol import State
from seedbed.weights.resolve import Weights
from tests.endpoints.parts import make_request

FAKE_VLLM = """
import argparse, os, pathlib, subprocess, sys, anyio
from seedbed.endpoints.scripted_server import serve_scripted

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--served-model-name")
parser.add_argument("--fail", action="store_true")
chosen, rest = parser.parse_known_args()
print("arguments", rest, os.environ["OMP_WAIT_POLICY"], flush=True)
if chosen.fail:
    sys.exit("CUDA is on holiday")
engine = subprocess.Popen(["sleep", "1000"])
pathlib.Path(os.environ["PIDS"]).write_text(f"{os.getpid()} {engine.pid}")

async def main():
    async with serve_scripted(model=chosen.served_model_name, port=chosen.port):
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
def fake_vllm(tmp_path: Path) -> Path:
    """Return a folder to put on PYTHONPATH, whose `vllm` is a server without a model."""
    folder = tmp_path / "packages"
    module = folder / "vllm" / "entrypoints" / "openai"
    module.mkdir(parents=True)
    (module / "api_server.py").write_text(FAKE_VLLM)
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    (weights / "model.safetensors").write_bytes(b"")
    return folder


def vllm_config(fake_vllm: Path, *arguments: str) -> EndpointConfig:
    folder = fake_vllm.parent
    return EndpointConfig(
        name="local",
        managed="vllm",
        model=str(folder / "model"),
        python=sys.executable,
        arguments=arguments,
        environment={"PYTHONPATH": str(fake_vllm), "PIDS": str(folder / "pids")},
    )


@asynccontextmanager
async def opened(config: EndpointConfig, folder: Path, told: list[Event] | None = None) -> AsyncIterator[Fleet]:
    events = Events()
    events.add((told if told is not None else list[Event]()).append)
    async with open_fleet(
        [config],
        secrets=Secrets(),
        budget=BudgetConfig(),
        max_attempts=6,
        log_folder=folder / "logs",
        events=events,
    ) as fleet:
        yield fleet


def pids(fake_vllm: Path) -> list[int]:
    return [int(word) for word in (fake_vllm.parent / "pids").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(numbers: list[int]) -> None:
    """Wait; a process that stays fails the test by its own time limit."""
    while any(map(is_running, numbers)):
        time.sleep(0.05)


def test_a_managed_server_starts_answers_and_stops_with_all_its_children(fake_vllm: Path) -> None:
    async def main() -> None:
        config = vllm_config(fake_vllm, "--max-model-len", "2048")
        async with opened(config, fake_vllm.parent) as fleet:
            assert (await fleet.ask(make_request())).text
            assert fleet.snapshot()["local"].state is State.READY
            assert all(map(is_running, pids(fake_vllm)))

    anyio.run(main)
    wait_until_gone(pids(fake_vllm))
    log = (fake_vllm.parent / "logs" / "local.log").read_text()
    assert "-m vllm.entrypoints.openai.api_server --host 127.0.0.1" in log
    assert "'--enable-lora', '--max-model-len', '2048'] passive" in log


def test_a_server_that_cannot_start_says_why_in_one_line(fake_vllm: Path) -> None:
    async def main() -> None:
        with pytest.raises(EndpointUnreachableError, match=r"exited 1 while starting; .*CUDA is on holiday") as caught:
            async with opened(vllm_config(fake_vllm, "--fail"), fake_vllm.parent):
                pass
        assert "\n" not in str(caught.value)

    anyio.run(main)


def test_a_server_that_dies_is_started_again_and_the_work_goes_on(fake_vllm: Path) -> None:
    told: list[Event] = []

    async def main() -> None:
        async with opened(vllm_config(fake_vllm), fake_vllm.parent, told) as fleet:
            first = pids(fake_vllm)
            os.kill(first[0], signal.SIGKILL)
            assert (await fleet.ask(make_request())).text
            while pids(fake_vllm) == first:  # noqa: ASYNC110 - another process writes them
                await anyio.sleep(0.05)
            assert (await fleet.ask(make_request())).text

    anyio.run(main)
    kinds = [event.kind for event in told if event.kind.startswith("endpoint.server")]
    assert kinds == ["endpoint.server_up", "endpoint.server_ended", "endpoint.server_up"]


PARENT = """
import sys, anyio
from pathlib import Path
from tests.endpoints.test_managed import opened, vllm_config

async def main():
    async with opened(vllm_config(Path(sys.argv[1])), Path(sys.argv[1]).parent):
        print("up", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_a_server_ends_when_its_parent_is_killed(fake_vllm: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(fake_vllm)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
    wait_until_gone(pids(fake_vllm))


def gguf(path: Path = Path("m.gguf")) -> Weights:
    return Weights("m", path, "gguf", "0" * 64, "Apache-2.0", True)


def test_vllm_refuses_a_gguf_file_and_llamacpp_a_folder() -> None:
    vllm = EndpointConfig(name="local", managed="vllm", model="m")
    with pytest.raises(ConfigError, match="vLLM serves a Hugging Face folder"):
        launch_of(vllm, gguf())
    pytest.importorskip("xllamacpp")
    llamacpp = EndpointConfig(name="local", managed="llama.cpp", model="m")
    with pytest.raises(ConfigError, match=r"llama\.cpp serves GGUF files"):
        launch_of(llamacpp, Weights("m", Path("folder"), "folder", "0" * 64, "", None))


def test_llamacpp_works_on_sixteen_at_once_unless_told_otherwise() -> None:
    pytest.importorskip("xllamacpp")
    config = EndpointConfig(name="local", managed="llama.cpp", model="m")
    more = EndpointConfig(name="local", managed="llama.cpp", model="m", max_in_flight=40)
    assert "--slots 16" in " ".join(launch_of(config, gguf()).command)
    assert "--slots 40" in " ".join(launch_of(more, gguf()).command)


@pytest.mark.real
def test_the_embedded_server_answers_holds_to_a_schema_and_stops(tmp_path: Path) -> None:
    async def main() -> None:
        config = EndpointConfig(name="local", managed="llama.cpp", model="qwen2.5-coder-0.5b", max_in_flight=4)
        async with opened(config, tmp_path) as fleet:
            found = await fleet.capabilities()
            assert all((found.chat, found.completions, found.json_schema, found.stop, found.usage))
            assert found.server == "llama.cpp"
            completion = await fleet.ask(make_request("What is the capital of France?", max_tokens=20, temperature=0))
            assert "Paris" in completion.text

    anyio.run(main)
    ports = [word for word in (tmp_path / "logs" / "local.log").read_text().split() if word.isdigit()]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{ports[0]}/health")


WRITER = """
import sys
number = 0
with open(sys.argv[1], "ab", buffering=0) as log:
    for line in sys.stdin:
        for _ in range(100):
            log.write(b"line %d\\n" % number)
            number += 1
        print("written", flush=True)
"""


def test_the_log_of_a_server_that_runs_on_stays_bounded(tmp_path: Path) -> None:
    log = tmp_path / "local.log"
    command = [sys.executable, "-c", WRITER, str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for _ in range(10):
            writer.stdin.write("go on\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "written\n"
            bound_log(log, max_bytes=1500)
        writer.stdin.close()
    # 100 lines are 790 or 900 bytes, two lots are past the bound: every second look sets two of them aside.
    assert log.read_bytes() == b""
    assert log.with_name("local.log.1").read_text() == "".join(f"line {number}\n" for number in range(800, 1000))
