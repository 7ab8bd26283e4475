"""Accepted rows as a stream, in the forms that trainers and spreadsheets read."""

import json
from collections.abc import Iterator
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from seedbed.core.records import Candidate
from seedbed.pool.pool import Pool
from seedbed.service.export import SHAPES, Format, csv_lines, export

PARQUET = "application/vnd.apache.parquet"
KINDS = ("application/x-ndjson", "text/csv", PARQUET)


def export_routes(pool: Pool) -> APIRouter:
    """Return the route that streams a pool's accepted rows."""
    routes = APIRouter(prefix="/v1", tags=["pool"])

    @routes.get("/export", response_class=StreamingResponse, responses={200: {"content": {kind: {} for kind in KINDS}}})
    def export_rows(form: Literal["alpaca", "sharegpt", "messages", "parquet", "csv"] = "alpaca") -> Response:
        """Stream the accepted rows: JSON lines, Parquet or CSV."""
        rows = pool.accepted()
        if form == "parquet":
            return _parquet(rows)
        lines = csv_lines(rows) if form == "csv" else _json_lines(rows, Format(form))
        kind, ending = ("text/csv; charset=utf-8", "csv") if form == "csv" else ("application/x-ndjson", "jsonl")
        headers = {"content-disposition": f'attachment; filename="accepted.{ending}"'}
        return StreamingResponse(lines, media_type=kind, headers=headers)

    return routes


def _parquet(rows: Iterator[Candidate]) -> Response:
    """Write the rows to a file that is gone once it was sent: memory holds one group of rows."""
    scratch = TemporaryDirectory(prefix="seedbed-export-")
    path = FilePath(scratch.name) / "accepted.parquet"
    try:
        export(rows, Format.PARQUET, path)
    except BaseException:
        scratch.cleanup()
        raise
    return FileResponse(path, media_type=PARQUET, filename=path.name, background=BackgroundTask(scratch.cleanup))


def _json_lines(rows: Iterator[Candidate], form: Format) -> Iterator[str]:
    for row in rows:
        yield json.dumps(SHAPES[form](row), ensure_ascii=False) + "\n"
