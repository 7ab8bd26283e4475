"""What is remembered of endpoints between runs: answers to deterministic requests, and what a server could do."""

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import InputError
from seedbed.core.files import read_json, write_json
from seedbed.core.records import Completion
from seedbed.core.text import content_id
from seedbed.endpoints.protocol import Capabilities

logger = logging.getLogger("seedbed.memory")

_TABLE = """CREATE TABLE IF NOT EXISTS answers
    (key TEXT PRIMARY KEY, completion TEXT NOT NULL, used_at REAL NOT NULL)"""
_CAPABILITIES = TypeAdapter(Capabilities)


class StoredAnswers:
    """An `AnswerCache` in a file of its own. Losing it costs requests and nothing else.

    A file that is damaged, locked or on a full disk is told to the log once and then left alone.
    """

    def __init__(self, path: Path, max_answers: int = 200_000, now: Callable[[], float] = time.time) -> None:
        """Open the file, or make it; the answers used longest ago beyond `max_answers` are dropped."""
        self._path, self._now = path, now
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLE)
            self._connection.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
                (max_answers,),
            )
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    async def get(self, key: str) -> Completion | None:
        if self._connection is None:
            return None
        try:
            row = self._connection.execute("SELECT completion FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            self._connection.execute("UPDATE answers SET used_at = ? WHERE key = ?", (self._now(), key))
            return Completion.model_validate_json(row[0])
        except (sqlite3.Error, ValueError) as error:
            self._give_up(error)
            return None

    async def put(self, key: str, completion: Completion) -> None:
        if self._connection is None:
            return
        values = (key, completion.model_dump_json(), self._now())
        try:
            self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", values)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: Exception) -> None:
        logger.warning("answers are not remembered any more: %s: %s (deleting the file is safe)", self._path, error)
        self.close()


class ProbeMemory:
    """What servers could do when they were tried, by endpoint, model and the version that the server tells.

    A server that tells no version is tried each time.
    """

    def __init__(self, path: Path, *, is_renewed: bool = False) -> None:
        """Take the file that it is kept in. `is_renewed`: nothing is taken from it, and what is found is written."""
        self._path, self._is_renewed = path, is_renewed

    def get(self, config: EndpointConfig, server: str, version: str) -> Capabilities | None:
        if self._is_renewed or not version:
            return None
        try:
            return _CAPABILITIES.validate_python(self._read().get(_key(config, server, version)))
        except ValidationError:  # not there, or written by another version of Seedbed
            return None

    def put(self, config: EndpointConfig, found: Capabilities) -> None:
        if found.version and found.chat:
            write_json(self._path, self._read() | {_key(config, found.server, found.version): asdict(found)})

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            kept = read_json(self._path)
        except InputError:
            return {}
        return kept if isinstance(kept, dict) else {}


def _key(config: EndpointConfig, server: str, version: str) -> str:
    """Name a server as configured; a managed one is on another port each time."""
    asked = orjson.dumps(config.parameters, option=orjson.OPT_SORT_KEYS).decode()
    return content_id((config.name, config.base_url or config.managed, config.model, asked, server, version))
