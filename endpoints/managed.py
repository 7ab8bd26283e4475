"""Servers that Seedbed starts, watches, restarts and stops: llama.cpp and vLLM as child processes."""

import importlib.util
import math
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import STDOUT
from typing import IO

import anyio
import anyio.to_thread
from anyio.abc import Process, TaskStatus

from seedbed.core.config import EndpointConfig
from seedbed.core.cores import usable_cores
from seedbed.core.errors import ConfigError, EndpointUnreachableError
from seedbed.core.events import Events
from seedbed.endpoints.control import controlling, is_healthy
from seedbed.weights.resolve import Progress, Weights, resolve

START_LIMIT_S = {"llama.cpp": 300.0, "vllm": 900.0}
"""vLLM compiles its kernels at the first start."""
SLOTS = 16
"""Of a managed llama.cpp server whose max_in_flight was left at its default: more gains nothing on few cores."""
HEALTH_EVERY_S = 15.0
UNHEALTHY_TO_RESTART = 4
FIRST_RESTART_S, LONGEST_RESTART_S = 1.0, 60.0
STEADY_S = 120.0
"""A server that held so long starts over at the shortest back-off."""
STOP_GRACE_S = 15.0
MAX_LOG_BYTES = 20_000_000

_VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "OMP_WAIT_POLICY": "passive",
}
"""Defaults; the process environment and `environment` of the config come before them."""
_VLLM_CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": str(usable_cores()),
}
"""More of them, for a machine without an NVIDIA GPU; the first is GiB."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started."""

    kind: str
    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class ManagedServer:
    """One child process that serves, and is started again when it ends."""

    def __init__(self, name: str, launch: Launch, log_folder: Path, events: Events) -> None:
        self.launch = launch
        self._name, self._events = name, events
        self._log = log_folder / f"{name}.log"

    async def run(
        self, when_up: Callable[[bool], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the server up until cancelled, telling `when_up` each time it comes and goes.

        Raises:
            EndpointUnreachableError: It did not come up the first time.
        """
        wait_s, has_been_up = FIRST_RESTART_S, False
        while True:
            began = anyio.current_time()
            async with self._process() as process:
                is_up = await self._comes_up(process)
                if is_up:
                    self._events.emit("endpoint.server_up", endpoint=self._name, url=self.launch.base_url)
                    when_up(True)
                    if not has_been_up:
                        task_status.started()
                    has_been_up = True
                    await self._holds(process)
                    when_up(False)
                ended = "did not become healthy" if process.returncode is None else f"exited {process.returncode}"
            if not has_been_up:
                raise EndpointUnreachableError(self._failed_start(ended))
            wait_s = FIRST_RESTART_S if anyio.current_time() - began > STEADY_S else wait_s
            self._events.emit("endpoint.server_ended", endpoint=self._name, reason=ended, restart_in_s=wait_s)
            await anyio.sleep(wait_s)
            wait_s = min(LONGEST_RESTART_S, wait_s * 2)

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        """Start the process, and stop it when the block ends, however it ends."""
        environment = {**os.environ, **self.launch.environment}
        with _opened_log(self._log) as log:
            log.write(f"$ {' '.join(self.launch.command)}\n".encode())
            log.flush()
            process = await anyio.open_process(
                self.launch.command, stdout=log, stderr=STDOUT, env=environment, start_new_session=True
            )
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)

    async def _comes_up(self, process: Process) -> bool:
        """Wait until /health answers; False when the process ends or takes too long."""
        async with controlling(self.launch.base_url, self._name) as control:
            with anyio.move_on_after(START_LIMIT_S.get(self.launch.kind, math.inf)):
                while process.returncode is None:
                    if await is_healthy(control):
                        return True
                    await anyio.sleep(0.1)
        return False

    async def _holds(self, process: Process) -> None:
        """Return when the process ended, or has not been healthy several times in a row."""
        async with anyio.create_task_group() as tasks:

            async def watch_health() -> None:
                await self._until_unhealthy()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch_health)
            await process.wait()
            tasks.cancel_scope.cancel()

    async def _until_unhealthy(self) -> None:
        misses = 0
        async with controlling(self.launch.base_url, self._name) as control:
            while misses < UNHEALTHY_TO_RESTART:
                await anyio.sleep(HEALTH_EVERY_S)
                await anyio.to_thread.run_sync(bound_log, self._log)
                misses = 0 if await is_healthy(control) else misses + 1

    def _failed_start(self, ended: str) -> str:
        tail = " | ".join(_tail(self._log))
        return f'the managed server of endpoint "{self._name}" {ended} while starting; {self._log} ends with: {tail}'


async def launched(config: EndpointConfig, accepted_licences: Collection[str], progress: Progress | None) -> Launch:
    """Get the weights of a managed endpoint, off the event loop, and work out how its server is started.

    Raises:
        ConfigError: What it needs is not installed, or these weights cannot be served by it.
        WeightsError: The weights could not be had.
    """
    find = partial(resolve, config.model, accepted_licences=accepted_licences, progress=progress)
    return launch_of(config, await anyio.to_thread.run_sync(find))


def launch_of(config: EndpointConfig, weights: Weights, port: int = 0) -> Launch:
    """Work out how the server of a managed endpoint is started, on a free port of loopback.

    Raises:
        ConfigError: What it needs is not installed, or these weights cannot be served by it.
    """
    port = port or _free_port()
    if config.managed == "llama.cpp":
        return Launch("llama.cpp", _llamacpp_command(config, weights, port), port, config.environment)
    defaults = _VLLM_ENVIRONMENT | ({} if Path("/dev/nvidiactl").exists() else _VLLM_CPU_ENVIRONMENT)
    environment = {key: value for key, value in defaults.items() if key not in os.environ}
    return Launch("vllm", _vllm_command(config, weights, port), port, environment | config.environment)


def with_slots(config: EndpointConfig) -> EndpointConfig:
    """Set max_in_flight of a managed llama.cpp server to the requests it works on at once."""
    return config.model_copy(update={"max_in_flight": _slots_of(config)}) if config.managed == "llama.cpp" else config


def _slots_of(config: EndpointConfig) -> int:
    return config.max_in_flight if "max_in_flight" in config.model_fields_set else min(SLOTS, config.max_in_flight)


def _llamacpp_command(config: EndpointConfig, weights: Weights, port: int) -> tuple[str, ...]:
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(f'endpoint "{config.name}" is managed = "llama.cpp": pip install "seedbed[local]"')
    if weights.format != "gguf":
        raise ConfigError(f'endpoint "{config.name}": llama.cpp serves GGUF files, and {weights.path} is a folder')
    settings = {
        "--model": str(weights.path),
        "--alias": config.model,
        "--port": str(port),
        "--slots": str(_slots_of(config)),
        "--context-tokens": str(config.context_tokens),
        "--threads": str(config.threads),
    }
    command = (sys.executable, "-m", "seedbed.endpoints.llamacpp")
    return (*command, *(word for pair in settings.items() for word in pair), *config.arguments)


def _vllm_command(config: EndpointConfig, weights: Weights, port: int) -> tuple[str, ...]:
    if weights.format != "folder":
        raise ConfigError(
            f'endpoint "{config.name}": vLLM serves a Hugging Face folder, and {weights.path} is a GGUF file; '
            f"name the folder it was converted to as model"
        )
    python = config.python or sys.executable
    leash = (sys.executable, "-m", "seedbed.endpoints.leash")
    # By module, since the `vllm` script fails with the CPU package.
    command = (python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port))
    model = ("--model", str(weights.path), "--served-model-name", config.model, "--enable-lora")
    return (*leash, *command, *model, *config.arguments)


async def _stop(process: Process) -> None:
    """Close the pipe that the child waits on; kill it where that is not enough."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with anyio.move_on_after(STOP_GRACE_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()


def bound_log(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Set what a running server wrote aside as `.1` where it grew large.

    The server holds the file open and appends to it, so it is copied and then emptied; what comes between is lost.
    """
    if path.exists() and path.stat().st_size > max_bytes:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


def _opened_log(path: Path) -> IO[bytes]:
    """Open a log to append to; one that grew large is set aside as `.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bound_log(path)
    return path.open("ab")


def _tail(path: Path, lines: int = 5) -> list[str]:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4096))
        return stream.read().decode("utf-8", "replace").splitlines()[-lines:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
