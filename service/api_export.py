"""Accepted rows as a stream, in the forms that trainers and spreadsheets read."""

from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from seedbed.core.records import Candidate
from seedbed.pool.pool import Pool
from seedbed.service.exchanged import ExportForm
from seedbed.service.export import ARRAYS, Format, export, pieces_of

PARQUET = "application/vnd.apache.parquet"
KINDS = ("application/json", "application/x-ndjson", "text/csv", PARQUET)
CHUNK_BYTES = 64 * 1024
"""Sent at once: each chunk is fetched from a thread of its own, which a single row is not worth."""


def export_routes(pool: Pool) -> APIRouter:
    """Return the route that streams a pool's accepted rows."""
    routes = APIRouter(prefix="/v1", tags=["pool"])

    @routes.get("/export", response_class=StreamingResponse, responses={200: {"content": {kind: {} for kind in KINDS}}})
    def export_rows(form: ExportForm = "alpaca") -> Response:
        """Stream the accepted rows in the forms of `seedbed export`: a JSON array, JSON lines, Parquet or CSV."""
        wanted, rows = Format(form), pool.accepted()
        if wanted is Format.PARQUET:
            return _parquet(rows)
        kind, ending = _kind_of(wanted)
        headers = {"content-disposition": f'attachment; filename="accepted.{ending}"'}
        return StreamingResponse(_chunks(pieces_of(rows, wanted)), media_type=kind, headers=headers)

    return routes


def _kind_of(form: Format) -> tuple[str, str]:
    """Return the media type and the ending of a file's name."""
    if form is Format.CSV:
        return "text/csv; charset=utf-8", "csv"
    return ("application/json", "json") if form in ARRAYS else ("application/x-ndjson", "jsonl")


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


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
