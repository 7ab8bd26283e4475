"""The embedded llama.cpp server, a process of its own: `python -m seedbed.endpoints.llamacpp --model FILE.gguf …`.

It serves the OpenAI-compatible protocol on loopback until its standard input closes.
"""

import argparse
import os
import signal
import sys
from typing import Any

from seedbed.core.cores import usable_cores
from seedbed.core.leashed import when_parent_ends

BATCH_TOKENS = 512


def main() -> None:
    """Serve until the parent ends or stops us."""
    chosen = _parser().parse_args()
    # Without this, OpenMP's threads spin while they wait and starve each other where the cores are shared.
    if os.environ.get("OMP_WAIT_POLICY") is None:
        os.execve(sys.executable, _own_command(), os.environ | {"OMP_WAIT_POLICY": "passive"})  # noqa: S606
    when_parent_ends(lambda: os._exit(0))
    import xllamacpp

    server = xllamacpp.Server(_parameters(xllamacpp, chosen))
    sys.stderr.write(f"serving {chosen.alias} at {server.listening_address}\n")
    sys.stderr.flush()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--alias", required=True, help="the name it is asked for by")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=16, help="requests worked on at once")
    parser.add_argument("--context-tokens", type=int, default=4096, help="for each slot")
    parser.add_argument("--threads", type=int, default=0, help="0 takes the cores this process may use")
    parser.add_argument("--lora", action="append", default=[], metavar="FILE", help="a GGUF adapter of this model")
    parser.add_argument("--lora-at-rest", action="store_true", help="apply adapters only to requests that ask for them")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other field of xllamacpp.CommonParams"
    )
    return parser


def _parameters(xllamacpp: Any, chosen: argparse.Namespace) -> Any:
    threads = chosen.threads or usable_cores()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = chosen.model
    parameters.model_alias = {chosen.alias}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = chosen.port
    parameters.n_parallel = chosen.slots
    parameters.n_ctx = chosen.context_tokens * chosen.slots
    parameters.cont_batching = True
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.n_threads_http = chosen.slots + 8  # a connection holds a thread; the health check needs one too
    parameters.endpoint_metrics = True
    parameters.ui = False
    parameters.offline = True
    parameters.fit_params = False
    parameters.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    scale = 0.0 if chosen.lora_at_rest else 1.0
    parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, scale) for path in chosen.lora]
    for setting in chosen.set:
        name, _, value = setting.partition("=")
        setattr(parameters, name, _converted(value, getattr(parameters, name)))
    return parameters


def _converted(value: str, present: object) -> object:
    """Read a setting's value as the kind it has now."""
    if isinstance(present, bool):
        return value.lower() in {"1", "true", "yes", "on"}
    if isinstance(present, int | float):
        return type(present)(value)
    return value


def _own_command() -> list[str]:
    return [sys.executable, "-m", "seedbed.endpoints.llamacpp", *sys.argv[1:]]


if __name__ == "__main__":
    main()
