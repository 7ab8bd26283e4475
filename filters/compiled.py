"""How kernels are compiled: once per machine, and running without the GIL.

The compiled code is cached in `NUMBA_CACHE_DIR`, else beside the source, else in the user's cache folder,
whichever may be written. Where none may (a read-only image without a home), it is compiled in each process; the
warm-up command of an image fills a cache folder beforehand.

numba notices a change in the file of a kernel, not in the files of those it calls. So each state of all kernel
files has a cache folder of its own, named by a hash over them, and no stale code is ever run.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_HERE = Path(__file__).parent


def kernel(function: _Function) -> _Function:
    """Compile a function of numpy arrays and numbers at its first call."""
    return _compiled(function, _OPTIONS)


def inlined(function: _Function) -> _Function:
    """Compile a function into the kernels that call it: passing many arrays costs more than a short function does."""
    return _compiled(function, {**_OPTIONS, "forceinline": True})


def _compiled(function: _Function, options: dict[str, Any]) -> _Function:
    folder = cache_folder()
    if folder is None:
        return cast("_Function", numba.njit(**options)(function))
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # read when a function is decorated
    try:
        return cast("_Function", numba.njit(cache=True, **options)(function))
    finally:
        config.CACHE_DIR = before


@cache
def cache_folder() -> Path | None:
    """Return the folder for compiled code of this state of the sources, or None where none may be written."""
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(_HERE.glob("*kernels.py")):
        digest.update(source.read_bytes())
    user = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    for base in (wanted,) if wanted else (_HERE / "__pycache__", Path(user) / "seedbed"):
        folder = Path(base) / f"kernels-{digest.hexdigest()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None
