"""Exports over HTTP are what `seedbed export` writes, and go out as rows come."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import anyio
import pyarrow.parquet as pq
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from seedbed.core.records import Candidate, Lineage
from seedbed.pool.pool import Pool
from seedbed.service.api_export import export_routes
from seedbed.service.cli import Here, app
from seedbed.service.commands import add_commands
from seedbed.service.exchanged import ExportForm
from seedbed.service.export import Format
from tests.service.running_service import TOKEN, Running, running_service

add_commands(app)
KINDS = {"alpaca": "application/json", "sharegpt": "application/json", "csv": "text/csv; charset=utf-8"}
LINES, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("export") / "w") as running:
        yield running
    Here.workspace = Path()


def test_every_format_but_the_folder_can_be_asked_for() -> None:
    assert set(get_args(ExportForm)) == set(Format) - {Format.HF}


@pytest.mark.parametrize("form", get_args(ExportForm))
def test_the_api_answers_what_the_command_writes(service: Running, form: str, tmp_path: Path) -> None:
    with TestClient(service.app, base_url="http://127.0.0.1") as client:
        answer = client.get(f"/v1/export?form={form}", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.headers["content-type"] == KINDS.get(form, PARQUET if form == "parquet" else LINES)
    out = tmp_path / "rows"
    folder = str(service.context.workspace.folder)
    told = CliRunner().invoke(app, ["-w", folder, "export", str(out), "--format", form], catch_exceptions=False)
    assert "4 rows" in told.output
    if form == "parquet":
        assert pq.read_table(io.BytesIO(answer.content)) == pq.read_table(out)
    else:
        assert answer.content == out.read_bytes()


class Counting:
    """Many rows, and how many of them were asked for."""

    def __init__(self) -> None:
        self.given = 0

    def accepted(self) -> Iterator[Candidate]:
        for number in range(5000):
            self.given += 1
            yield Candidate.of(f"Question {number}", "", "An answer. " * 20, lineage=Lineage(recipe="alpaca"))


@pytest.mark.parametrize("form", [one for one in get_args(ExportForm) if one != "parquet"])
def test_an_export_goes_out_as_rows_come(form: str) -> None:
    rows = Counting()

    async def read() -> list[int]:
        (route,) = export_routes(cast("Pool", rows)).routes
        assert isinstance(route, APIRoute)
        pieces = route.endpoint(form).body_iterator
        return [rows.given async for _ in pieces]

    given = anyio.run(read)
    assert given[0] < 1000
    assert given[-1] == 5000
