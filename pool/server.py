"""Connections to a pool on a PostgreSQL server: those that write, each transaction alone, and read-only ones."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import NoSuchModuleError

from seedbed.core.config import PoolConfig
from seedbed.core.errors import ConfigError
from seedbed.core.load import read_secret

# Advisory locks are of a database; the second half of a key keeps pools in its schemas apart.
WRITING, LEADING = 0x5EED01, 0x5EED02
_SCHEMA_KEY = "hashtext(coalesce(current_schema(), 'public'))"
LOCK_WRITING = f"SELECT pg_advisory_xact_lock({WRITING}, {_SCHEMA_KEY})"
TRY_LEADING = f"SELECT pg_try_advisory_lock({LEADING}, {_SCHEMA_KEY})"

OLDEST = 140000
"""PostgreSQL 14 is the first that ends a session whose client went silent (`idle_session_timeout`)."""

# A server or a network that is gone is noticed within 10 s, from both ends.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "seedbed",
}
_EACH_SESSION = (
    "SET tcp_keepalives_idle = 4",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
)
# A process that stands still in the middle of a transaction keeps every other writer waiting.
_SHORT = "SET idle_in_transaction_session_timeout = '5s'"
# A commit is on disk when it returns; a stricter setting of the server's stays.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


@dataclass(frozen=True, slots=True)
class Server:
    """The database that `pool.url` names."""

    url: URL

    @classmethod
    def of(cls, config: PoolConfig, environment: Mapping[str, str] = os.environ) -> "Server":
        """Read the URL, and the password from the variable that the config names.

        Raises:
            ConfigError: The variable is not set, or the driver is not installed.
        """
        url = make_url(config.url)
        try:
            url.get_dialect().import_dbapi()
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                f"pool.url names a PostgreSQL server, whose driver is missing ({error}): "
                'install it with pip install "seedbed[postgres]"'
            ) from error
        if config.password_env:
            password = read_secret(config.password_env, environment)
            if not password:
                raise ConfigError(f"pool.password_env names {config.password_env}, which is not set")
            url = url.set(password=password)
        return cls(url)

    @property
    def where(self) -> str:
        """The server for people, without the password."""
        return URL.create(
            self.url.drivername, self.url.username, None, self.url.host, self.url.port, self.url.database
        ).render_as_string()

    def writing_engine(self) -> Engine:
        """Return an engine whose transactions stand alone, like SQLite's: the next begins when this one ended.

        Rows are therefore numbered in the order in which readers come to see them.
        """
        engine = self._engine(poolclass=NullPool)
        event.listen(engine, "connect", _settle_writing)
        event.listen(engine, "begin", lock_writing)
        return engine

    def reading_engine(self) -> Engine:
        """Return an engine of read-only connections; each transaction sees one state of the pool."""
        engine = self._engine(
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=12,
            pool_pre_ping=True,  # a server that was restarted has ended the sessions that wait here
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )
        event.listen(engine, "connect", _settle)
        return engine

    def plain_engine(self, *, is_patient: bool = False) -> Engine:
        """Return an engine that takes no lock by itself, for the election and, patient with long work, for schemas."""
        engine = self._engine(poolclass=NullPool)
        event.listen(engine, "connect", _settle_patient if is_patient else _settle_writing)
        return engine

    def _engine(self, **options: Any) -> Engine:
        given = {name: value for name, value in _PATIENCE.items() if name not in self.url.query}
        return create_engine(self.url, connect_args=given, **options)


def is_server(config: PoolConfig) -> bool:
    """Say whether the pool is on a PostgreSQL server."""
    return config.url != "sqlite"


def lock_writing(connection: Connection) -> None:
    """Wait until no other transaction writes the pool; the lock goes with this one."""
    connection.exec_driver_sql(LOCK_WRITING)


def _settle(connection: Any, _: object) -> None:
    _run(connection, _EACH_SESSION)


def _settle_writing(connection: Any, _: object) -> None:
    _run(connection, (*_EACH_SESSION, _DURABLE, _SHORT))


def _settle_patient(connection: Any, _: object) -> None:
    _run(connection, (*_EACH_SESSION, _DURABLE))


def _run(connection: Any, statements: tuple[str, ...]) -> None:
    """Run statements outside of any transaction, whose end would take them back."""
    before, connection.autocommit = connection.autocommit, True
    for statement in statements:
        connection.execute(statement)
    connection.autocommit = before
