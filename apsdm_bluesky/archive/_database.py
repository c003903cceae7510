"""The database of the archive: SQLite in the state folder, or PostgreSQL by configuration."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError

from ._tables import is_current, upgrade

_STATION_PART = "station.part."
_ONLY_READS = "apsdm_only_reads"


class Database:
    """The tables, and who this state folder is among those that share them.

    Every method raises `StorageError` where the database cannot be read or written, and `ServiceError` where
    a server does not answer.

    Parameters
    ----------
    folder
        The archive's folder: the SQLite file is ``ledger.sqlite`` in it.
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

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.name = f"{folder / 'ledger.sqlite'}" if url is None else url
        with self.errors():
            make_folder(folder)
            self.station = _station(folder)
            self.engine = _engine(folder, url)
            with self.read() as connection:
                current = is_current(connection)
            if not current:
                with self.begin() as connection:
                    upgrade(connection, self.station)

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that sees what it changes: nobody else writes what it has read."""
        with self.errors(), self.engine.begin() as connection:
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

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Faults of the disk or the server as errors of this package; one of uniqueness passes."""
        try:
            yield
        except IntegrityError:
            raise
        except (OSError, DBAPIError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error.strerror
            reason = " ".join(str(cause).split())
            if isinstance(error, OperationalError) and not self.name.endswith(".sqlite"):
                raise ServiceError(f"{self.name}: {reason}; the archive goes on when it answers") from error
            raise StorageError(
                f"{self.name}: {reason}; free space or give access, the archive goes on by itself"
            ) from error


def _engine(folder: Path, url: str | None) -> sa.Engine:
    if url is None:
        engine = sa.create_engine(f"sqlite:///{folder / 'ledger.sqlite'}", connect_args={"timeout": 30})
        sa.event.listen(engine, "connect", _set_durable)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() != "postgresql" or parsed.password is not None:
            raise ConfigError(
                "archive.database: give postgresql+psycopg://user@host/name; the password in PGPASSFILE"
            )
        return sa.create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"archive.database: {error}; give postgresql+psycopg://user@host/name") from error
    except ModuleNotFoundError as error:
        raise ConfigError("archive.database: needs psycopg; pip install 'apsdm-bluesky[postgres]'") from error


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
        new = folder / f"{_STATION_PART}{os.getpid()}"
        new.write_text(uuid.uuid4().hex, encoding="ascii")
        sync(new)
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # another process was first
            path.hardlink_to(new)
        sync(folder)
    for left in folder.glob(f"{_STATION_PART}*"):
        left.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")
