"""The route that takes an existing set of rows into the pool."""

from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Query, Request

from seedbed.service.answering import free
from seedbed.service.api_changes import Desk
from seedbed.service.exchanged import Imported
from seedbed.service.importing import import_rows
from seedbed.service.once import Key, Once
from seedbed.service.uploads import body_of, uploaded

LINES = "application/x-ndjson"


def import_routes(desk: Desk, once: Once) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1/pool", tags=["pool"])
    context, alone = desk.context, anyio.Lock()

    @routes.post("/import", response_model=Imported, openapi_extra=body_of(LINES))
    async def import_set(
        request: Request,
        decide: Literal["cascade", "by_hand"] = "cascade",
        note: Annotated[str, Query(max_length=2000)] = "imported",
        key: Key = None,
    ) -> Any:
        """Take rows in: decided by the cascade, or accepted by hand; unverified categories wait. One import at a time.

        The body is JSON lines of Alpaca, Dolly, ShareGPT, messages or prompt and completion rows, of at most 2 GB.
        """
        async with free(alone, "an import"), uploaded(request, context.workspace.folder, "rows.jsonl") as upload:

            async def act() -> Imported:
                return await import_rows(context, desk.live, upload.path, decide=decide, note=note)

            return await once.answer(request, key, act, body_sha256=upload.sha256, is_repeatable=True)

    return routes
