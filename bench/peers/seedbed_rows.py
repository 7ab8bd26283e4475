"""Generate rows with Seedbed: what `seedbed generate --target ROWS` does, in a workspace in the current folder.

Its prompts are its own, those of the Alpaca recipe; `--prompt` is there for the others' sake.
"""

import argparse
import resource
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from seedbed.service.context import writing
from seedbed.service.generation import generate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    create_workspace(Path("workspace"), base_url=chosen.url, model="mock")
    workspace = open_workspace(Path("workspace"))
    settings = workspace.config.generation.model_copy(
        update={"recipes": {"alpaca": 1.0}, "triples_per_request": 1, "use_json_schema": "always", "drain_grace_s": 0.0}
    )
    endpoints = (workspace.config.endpoints[0].model_copy(update={"max_in_flight": chosen.in_flight}),)
    pool = workspace.config.pool.model_copy(update={"first_target": 10**9})
    config = workspace.config.model_copy(update={"generation": settings, "endpoints": endpoints, "pool": pool})
    live = Live()
    with writing(replace(workspace, config=config)) as context:
        run = partial(generate, context, target=chosen.rows, stop=Stop(), live=live)
        anyio.run(run, backend_options={"use_uvloop": True})
    accepted = live.counters.accepted
    print(f"accepted: {accepted}, answers: {live.counters.completions}")
    # An answer that was there at the target may be accepted too.
    print(f"rows: {chosen.rows if chosen.rows <= accepted <= chosen.rows + chosen.in_flight else accepted}")


if __name__ == "__main__":
    main()
