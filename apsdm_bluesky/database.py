"""Where durable state is kept: SQLite in a state folder, or PostgreSQL by configuration."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError

__all__ = ["Database", "Tables", "Text", "first_tables"]

_ONLY_READS = "apsdm_only_reads"
_ADVICE = "give postgresql+psycopg://user@host/name; the password in PGPASSFILE"
# A server that is gone, or somebody who holds a row, must not hold up a thread for ever. Times in s, but for
# tcp_user_timeout and lock_timeout in ms.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "options": "-c lock_timeout=30000",
}


class Text(sa.TypeDecorator[str]):
    """Text from outside: file names and documents hold what a database refuses (NUL, lone surrogates)."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        """Write what no database takes as an escape."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of one room.

    Parameters
    ----------
    room
        Its name in messages and in the configuration, which has a key `<room>.database`.
    file
        The SQLite file's name.
    is_current
        Whether the tables are those of this version.
    upgrade
        Make them, or bring those of an earlier version to this one, in a transaction, for a station.
        Several processes may ask for it at once.
    """

    room: str
    file: str
    is_current: Callable[[sa.Connection], bool]
    upgrade: Callable[[sa.Connection, str], None]


def first_tables(
    *, room: str, file: str, schema: sa.Table, lock: int, more: Callable[[], dict[str, Any]] = dict
) -> Tables:
    """The tables of a room that have had no other version yet.

    Parameters
    ----------
    schema
        One of them, with a column `version`: its row tells which version they are.
    lock
        A number of the room's own, under which PostgreSQL lets one make them at a time.
    more
        What else that row has.
    """

    def is_current(connection: sa.Connection) -> bool:
        if not sa.inspect(connection).has_table(schema.name):
            return False
        return bool(connection.execute(sa.select(sa.func.max(schema.c.version))).scalar() == 1)

    def upgrade(connection: sa.Connection, _: str) -> None:
        if connection.dialect.name == "postgresql":  # two that create one table fail
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        if not is_current(connection):
            schema.metadata.create_all(connection)
            connection.execute(sa.insert(schema).values(version=1, **more()))

    return Tables(room=room, file=file, is_current=is_current, upgrade=upgrade)


class Database:
    """The tables, and who this state folder is among those that share them.

    Every method raises `StorageError` where the database cannot be read or written, and `ServiceError` where
    a server does not answer.

    Parameters
    ----------
    folder
        The room's state folder, where the SQLite file lies.
    tables
        What is in it.
    url
        Of a PostgreSQL database, as SQLAlchemy writes it; None: the SQLite file. A password comes from
        libpq's own places (PGPASSFILE, PGPASSWORD), not from the URL.

    Attributes
    ----------
    station
        A name of the state folder that no other one has: several may share a PostgreSQL database.

    Raises
    ------
    ConfigError
        The URL cannot be used.
    """

    def __init__(self, folder: Path, tables: Tables, url: str | None = None) -> None:
        key, file = f"{tables.room}.database", folder / tables.file
        server = None if url is None else _server(url, key)
        self._tables = tables
        self._remote = server is not None
        # SQLite has one writer at a time; those who wait for another one sleep, up to 0.1 s at a time.
        self._one_writer = contextlib.nullcontext() if self._remote else threading.RLock()
        self.name = _shown(server) if server else f"{file}"
        with self.errors():
            make_folder(folder)
            self.station = _station(folder)
            self.engine = _server_engine(server, key) if server else _file_engine(file)
            with contextlib.ExitStack() as undo:
                undo.callback(self.close)
                self._make_tables()
                undo.pop_all()

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that sees what it changes: nobody else writes what it has read."""
        with self.errors(), self._one_writer, self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        options = {_ONLY_READS: True}
        with self.errors(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()

    def _make_tables(self) -> None:
        with self.read() as connection:
            current = self._tables.is_current(connection)
        if not current:
            with self.begin() as connection:
                self._tables.upgrade(connection, self.station)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Faults of the disk or the server as errors of this package; one of uniqueness passes."""
        try:
            yield
        except IntegrityError:
            raise
        except (OSError, DBAPIError, PoolTimeoutError) as error:
            place, reason, room = self.name, _reason(error), self._tables.room
            if self._remote and not isinstance(error, OSError):
                raise ServiceError(
                    f"{place}: {reason}; start it or give access there, {room} goes on when it answers"
                ) from error
            raise StorageError(
                f"{place}: {reason}; free space or give access, {room} goes on by itself"
            ) from error


def _reason(error: Exception) -> str:
    """Without the statement and its values, in one line."""
    cause: object = error
    if isinstance(error, DBAPIError):
        cause = error.orig
    elif isinstance(error, OSError):
        cause = error.strerror
    elif isinstance(error, PoolTimeoutError):
        cause = "all connections are in use"
    return " ".join(str(cause).split())


def _server(url: str, key: str) -> sa.URL:
    """The URL in its parts. What is refused is not repeated: a password may stand in it, or pieces of one."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(f"{key}: is no URL; {_ADVICE}") from None
    secrets = [key for key in parsed.query if "password" in key.lower()]
    if parsed.password is not None or secrets or "@" in (parsed.host or ""):
        raise ConfigError(f"{key}: a password does not belong there; {_ADVICE}")
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigError(f"{key}: is no URL for PostgreSQL; {_ADVICE}")
    return parsed


def _shown(server: sa.URL) -> str:
    """The URL for messages."""
    return server.set(query={}).render_as_string(hide_password=True)


def _server_engine(server: sa.URL, key: str) -> sa.Engine:
    patience = {key: value for key, value in _PATIENCE.items() if key not in server.query}
    try:
        return sa.create_engine(server, pool_pre_ping=True, connect_args=patience)
    except ImportError as error:
        raise ConfigError(f"{key}: needs psycopg; pip install 'apsdm-bluesky[postgres]'") from error


def _file_engine(file: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _set_durable)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_durable(connection: Any, _: object) -> None:
    """A committed submission id must survive a power cut, not only a crash: synchronous is FULL."""
    connection.isolation_level = None  # transactions begin where `_begin_immediate` says
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    """A transaction that reads first and writes later would fail beside another one that writes."""
    if not connection.get_execution_options().get(_ONLY_READS):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _station(folder: Path) -> str:
    path = folder / "station"
    if not path.exists():
        with filelock.FileLock(folder / "station.lock"):
            _make_station(path)
    return path.read_text(encoding="ascii")


def _make_station(path: Path) -> None:
    if path.exists():  # another process was first
        return
    new = path.with_suffix(".part")
    new.write_text(uuid.uuid4().hex, encoding="ascii")
    sync(new)
    new.replace(path)
    sync(path.parent)
