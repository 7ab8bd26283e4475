"""Routes of the references: what is kept out, adding to it, and looking for it in what is in."""

from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from seedbed.core.errors import InputError
from seedbed.filters.contamination import ContaminationFilter
from seedbed.service.adding import FOLDER, AddedReference, add_references, added_references
from seedbed.service.answering import TAGGED, free, tagged
from seedbed.service.api_changes import Desk, known_things
from seedbed.service.exchanged import ReferenceShown, RescannedShown
from seedbed.service.ledger_screen import rescan_record
from seedbed.service.once import Key, Once
from seedbed.service.rescan import added_filter, meet, rescan_live, whole_filter
from seedbed.service.serving import bring_into_service
from seedbed.service.uploads import body_of, uploaded

Name = Annotated[str, Path(pattern="^[a-z0-9-]{1,64}$")]
Fields = Annotated[str, Query(max_length=1000, description="Fields that hold the items, comma-separated; all texts")]


def reference_routes(desk: Desk, once: Once) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["references"])
    context, alone = desk.context, anyio.Lock()

    @routes.get("/references", response_model=list[ReferenceShown], responses=TAGGED)
    def list_references(request: Request) -> Response:
        """List the reference files of the workspace."""
        return tagged(request, added_references(context.workspace))

    @routes.put("/references/{name}", response_model=RescannedShown, openapi_extra=body_of("application/octet-stream"))
    async def add_reference(
        name: Name,
        request: Request,
        form: Literal["jsonl", "json", "csv", "tsv", "parquet", "txt", "md"] = "jsonl",
        fields: Fields = "",
        key: Key = None,
    ) -> Any:
        """Keep a benchmark out: store the file, and quarantine the rows and mark the adapters that overlap with it.

        The body is the file, of at most 256 MB.
        """
        chosen = tuple(part.strip() for part in fields.split(",") if part.strip())
        async with uploaded(request, context.workspace.folder, f"{name}.{form}") as upload:

            async def act() -> RescannedShown:
                try:
                    added = await anyio.to_thread.run_sync(add_references, context.workspace, [upload.path], chosen)
                except InputError as error:  # names within the workspace: where that lies is nobody's business
                    text = str(error).replace(f"{upload.path.parent}/", "")
                    raise HTTPException(409, text.replace(f"{context.workspace.folder}/", "")) from error
                for one in added:
                    file = f"{FOLDER}/{one.file.name}"
                    context.events.emit("reference.added", reference=one.name, file=file, items=one.items)
                fresh = await anyio.to_thread.run_sync(added_filter, context, added)
                return await _rescanned(desk, added, fresh)

            async with free(alone, "a rescan"), known_things():
                return await once.answer(request, key, act, body_sha256=upload.sha256, is_repeatable=True)

    @routes.post("/rescan", response_model=RescannedShown)
    async def rescan_all(request: Request, key: Key = None) -> Any:
        """Look for all references there are in the whole pool, as after putting files into the folder by hand."""

        async def act() -> RescannedShown:
            return await _rescanned(desk, [], await anyio.to_thread.run_sync(whole_filter, context))

        async with free(alone, "a rescan"), known_things():
            return await once.answer(request, key, act, is_repeatable=True)

    return routes


async def _rescanned(desk: Desk, added: list[AddedReference], fresh: ContaminationFilter) -> RescannedShown:
    await meet(desk.context, desk.live)
    done = await rescan_live(desk.context, desk.live, fresh, is_stopping=lambda: desk.control.is_stopping)
    await bring_into_service(desk.context)
    record = rescan_record(added, done)
    record["references"] = [{**one, "file": f"{FOLDER}/{one['file'].name}"} for one in record["references"]]
    return RescannedShown.model_validate(record)
