"""Batches of files that were stored: which are due, and what is in them."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from apsdm_bluesky.database import Database

from ._daq import Daq, DaqFile, FileState
from ._rows import daq_of, file_of
from ._tables import TABLES, batches, daqs, files


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are one run."""

    run: str
    daq: Daq
    time: float
    files: Sequence[DaqFile]


class BatchStore:
    """The batches of this station. Raises as `DaqStore`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._database = Database(folder, TABLES, url)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def gather(self, *, before: float, most: int) -> int:
        """Make batches of files that were stored and are in none, where they are due.

        Parameters
        ----------
        before
            All of a DAQ are due when one was stored before [s since the Unix epoch], when `most` wait, or
            when no more come.
        most
            Files in one batch, at most.

        Returns
        -------
        How many batches there were.
        """
        loose = (files.c.state == FileState.STORED, files.c.run.is_(None))
        query = (
            sa.select(
                files.c.daq, sa.func.min(files.c.updated).label("first"), sa.func.count().label("number")
            )
            .join(daqs, daqs.c.id == files.c.daq)
            .where(*loose, daqs.c.db_station == self._database.station)
            .group_by(files.c.daq, daqs.c.drained)
            .having(sa.or_(daqs.c.drained, sa.func.min(files.c.updated) < before, sa.func.count() >= most))
        )
        with self._database.read() as connection:
            due = [row.daq for row in connection.execute(query)]
        for daq in due:
            self._make(daq, most)
        return len(due)

    def unsettled(self) -> Sequence[Batch]:
        """Batches that are not handed on yet, in the order they were made."""
        mine = daqs.c.db_station == self._database.station
        query = sa.select(batches).join(daqs, daqs.c.id == batches.c.daq)
        with self._database.read() as connection:
            rows = connection.execute(
                query.where(batches.c.settled.is_(False), mine).order_by(batches.c.time)
            ).all()
            return [self._batch(connection, row) for row in rows]

    def settle(self, batch: Batch) -> None:
        """It is handed on."""
        of_it = sa.update(files).where(files.c.run == batch.run, files.c.state == FileState.STORED)
        with self._database.begin() as connection:
            connection.execute(of_it.values(state=FileState.CATALOGUED))
            connection.execute(sa.update(batches).where(batches.c.run == batch.run).values(settled=True))

    def rest(self, daq: str) -> int:
        """How many of a DAQ's files are stored and not handed on."""
        query = sa.select(sa.func.count()).where(files.c.daq == daq, files.c.state == FileState.STORED)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _make(self, daq: str, most: int) -> None:
        run = uuid.uuid4()
        loose = (files.c.daq == daq, files.c.state == FileState.STORED, files.c.run.is_(None))
        with self._database.begin() as connection:
            some = sa.select(files.c.id).where(*loose).order_by(files.c.id).limit(most)
            taken = connection.execute(sa.update(files).where(files.c.id.in_(some)).values(run=str(run)))
            if taken.rowcount:
                values = {"run": str(run), "daq": daq, "time": time.time(), "settled": False}
                connection.execute(sa.insert(batches).values(values))

    @staticmethod
    def _batch(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Batch:
        daq = connection.execute(sa.select(daqs).where(daqs.c.id == row.daq)).one()
        query = sa.select(files).where(files.c.run == row.run, files.c.daq == row.daq).order_by(files.c.name)
        members = [
            file_of(member) for member in connection.execute(query.where(files.c.state == FileState.STORED))
        ]
        return Batch(row.run, daq_of(daq), row.time, members)
