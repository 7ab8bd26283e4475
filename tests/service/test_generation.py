"""Generation against servers on the wire, in this process."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from seedbed.core.load import parse_config
from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.service.context import writing
from seedbed.service.cost import costs_by_recipe
from seedbed.service.generation import generate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace


def test_several_teachers_share_the_work_and_each_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    create_workspace(folder, base_url="http://unused/v1", model="m")

    async def main() -> None:
        async with serve_scripted(model="m") as one, serve_scripted(model="m") as two:
            endpoints = [
                {"name": name, "base_url": url, "model": "m", "price_per_million_completion_tokens": price}
                for name, url, price in (("one", one, 1.0), ("two", two, 3.0))
            ]
            workspace = open_workspace(folder)
            config = parse_config({"teacher": ["one", "two"], "endpoints": endpoints}, "test")
            with writing(replace(workspace, config=config)) as context:
                await generate(context, target=12, stop=Stop(), live=Live())
                spent, counts = context.pool.spent(), context.pool.counts()
                assert counts.accepted >= 12
                assert set(spent.endpoints) == {"one", "two"}
                costs = costs_by_recipe(config, spent, counts)
                assert sum(cost.accepted for cost in costs.values()) == counts.accepted
                paid = spent.endpoints["one"].completion_tokens + 3 * spent.endpoints["two"].completion_tokens
                assert sum(cost.money for cost in costs.values()) == pytest.approx(paid / 1e6)

    anyio.run(main)
