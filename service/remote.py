"""The running service that a command works through: the one that holds the workspace, or the one that `--url` names."""

import gzip
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from seedbed.core.errors import ConfigError, InputError, ServiceUnreachableError
from seedbed.core.files import read_json
from seedbed.service.client import Client

ACCESS_FILE = "service.json"
TOKEN_ENV = "SEEDBED_TOKEN"  # noqa: S105 - a name


def service_of(workspace: Path, url: str = "") -> Client | None:
    """Return a client of the running service; None where the workspace is nobody's, so that a command may hold it.

    Args:
        workspace: Its `service.json`, which only its owner can read, has the address and token of its service.
        url: Another service; its token is in the environment.

    Raises:
        ConfigError: `SEEDBED_TOKEN` is not set for a `url`.
    """
    if url:
        token = os.environ.get(TOKEN_ENV, "")
        if not token:
            raise ConfigError(f"--url needs the service's token in the environment variable {TOKEN_ENV}")
        return Client(url, token)
    try:
        access = read_json(workspace / ACCESS_FILE)
        client = Client(access["url"], access["token"])
    except (InputError, KeyError):
        return None
    try:
        client.is_alive()
    except ServiceUnreachableError:  # the file was left by one that was killed
        client.close()
        return None
    return client


def new_key() -> str:
    """Make an idempotency key for one command."""
    return secrets.token_hex(16)


@contextmanager
def as_reference(file: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield a file's name and form as the service takes them, and its content without gzip."""
    plain = file.name.removesuffix(".gz")
    stem, _, form = plain.rpartition(".")
    name = re.sub("[^a-z0-9]+", "-", stem.lower()).strip("-")[:64]
    if not name:
        raise InputError(f"{file}: its name needs a letter or digit before the dot, as the service calls it by that")
    with TemporaryDirectory() as scratch:
        content = file
        if file.name.endswith(".gz"):
            content = Path(scratch) / plain
            with gzip.open(file) as packed, content.open("wb") as out:
                shutil.copyfileobj(packed, out)
        yield name, form.lower().replace("ndjson", "jsonl"), content
