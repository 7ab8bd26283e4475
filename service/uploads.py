"""Bodies larger than the limit of other routes: written to a file as they come, so that memory holds none of them."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from fastapi import Request


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that came whole."""

    path: Path
    sha256: str


@asynccontextmanager
async def uploaded(request: Request, folder: Path, name: str) -> AsyncIterator[Upload]:
    """Yield the request's body as a file of this name, which is gone after the block."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".upload-") as scratch:
        path, digest = Path(scratch) / name, hashlib.sha256()
        with path.open("wb") as stream:
            async for chunk in request.stream():
                digest.update(chunk)
                await anyio.to_thread.run_sync(stream.write, chunk)
        yield Upload(path, digest.hexdigest())


def body_of(*kinds: str) -> dict[str, object]:
    """Return how the OpenAPI tells of such a body."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}
