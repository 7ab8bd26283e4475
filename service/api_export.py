"""Accepted rows as a stream, in the forms that trainers and spreadsheets read."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from seedbed.core.records import Candidate
from seedbed.pool.pool import Pool
from seedbed.service.export import SHAPES, Format

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
KINDS = ("application/x-ndjson", "text/csv")
COLUMNS = ("id", "category", "instruction", "input", "output", "recipe", "model")


def export_routes(pool: Pool) -> APIRouter:
    """Return the route that streams a pool's accepted rows."""
    routes = APIRouter(prefix="/v1", tags=["pool"])

    @routes.get("/export", response_class=StreamingResponse, responses={200: {"content": {kind: {} for kind in KINDS}}})
    def export(form: Literal["alpaca", "sharegpt", "messages", "csv"] = "alpaca") -> StreamingResponse:
        """Stream the accepted rows: JSON lines, or CSV."""
        rows = pool.accepted()
        lines = csv_lines(rows) if form == "csv" else _json_lines(rows, Format(form))
        kind, ending = ("text/csv; charset=utf-8", "csv") if form == "csv" else ("application/x-ndjson", "jsonl")
        headers = {"content-disposition": f'attachment; filename="accepted.{ending}"'}
        return StreamingResponse(lines, media_type=kind, headers=headers)

    return routes


def _json_lines(rows: Iterator[Candidate], form: Format) -> Iterator[str]:
    for row in rows:
        yield json.dumps(SHAPES[form](row), ensure_ascii=False) + "\n"


def csv_lines(rows: Iterator[Candidate]) -> Iterator[str]:
    """Yield rows as CSV; a cell that a spreadsheet would run as a formula begins with an apostrophe (OWASP)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        category, lineage = row.category or row.requested_category, row.lineage
        cells = (row.id, category, row.instruction, row.input, row.output, lineage.recipe, lineage.model)
        writer.writerow([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
