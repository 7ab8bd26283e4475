"""A throwaway PostgreSQL server on a unix socket."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg

NOBODY = "nobody"
"""The server refuses to run as root."""


class PostgresServer:
    """Runs until it is stopped; its files go with it.

    Args:
        addresses: Where it listens beside its socket, without a password.
    """

    def __init__(self, addresses: Sequence[str] = ()) -> None:
        self._addresses = ",".join(addresses)
        self.folder = Path(tempfile.mkdtemp(prefix="seedbed-pg-"))
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._data = self.folder / "data"
        self._numbers = count()
        self._run("initdb", "-D", str(self._data), "-U", "seedbed", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {address}/24 trust\n" for address in addresses)
        self.start()

    def start(self) -> None:
        options = (
            f"-k {self.folder} -c listen_addresses='{self._addresses}' -c max_connections=200 -c shared_buffers=64MB"
        )
        log = self.folder / "log"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(log), "-o", options, "-w", "-t", "120", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "-t", "120", "stop")

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"pool{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql+psycopg://seedbed@/{name}?host={quote(str(self.folder), safe='')}"

    def execute(self, statement: str, database: str) -> list[tuple[object, ...]]:
        """Run statements as the superuser."""
        with psycopg.connect(host=str(self.folder), user="seedbed", dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def wait_until_up(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.execute("SELECT 1", "postgres")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(_binaries() / program), *arguments],
            check=True,
            user=self._user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if program == "pg_ctl" else None,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )


def database_of(url: str) -> str:
    """Return the name of the database in a URL."""
    return url.partition("?")[0].rpartition("/")[2]


def _binaries() -> Path:
    """Find the newest server that is installed; Debian keeps its programs out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        raise FileNotFoundError("no PostgreSQL server is installed: `make postgres` installs Debian's")
    return found[-1].parent if found else Path(str(on_path)).parent
