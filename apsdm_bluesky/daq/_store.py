"""The durable truth about DAQs and uploads, for those who ask for them and look at them."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from apsdm_bluesky.database import Database
from apsdm_bluesky.errors import DaqError

from ._check import check_new
from ._daq import Counts, Daq, DaqFile, DaqState, FileState, Kind, NewDaq, Notice
from ._rows import daq_of, file_of, values_of
from ._tables import TABLES, daqs, files, notices

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig  # takes long to load; the porter does without

ACTIVE = (DaqState.RUNNING, DaqState.STOPPING)


class DaqStore:
    """DAQs and uploads. Any process may ask for one; the agent of the station does the work.

    Every method raises `StorageError` where the database cannot be read or written, `ServiceError` where its
    server does not answer.

    Parameters
    ----------
    folder, url
        See `Database`.
    sources
        Folders that may be read; none: any.
    home
        The state folder, which is not.
    """

    def __init__(
        self, folder: Path, url: str | None = None, *, sources: Sequence[Path] = (), home: Path | None = None
    ) -> None:
        self._database = Database(folder, TABLES, url)
        self._sources = sources
        self._home = home

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def start(self, new: NewDaq, *, actor: str, most: int | None = None) -> Daq:
        """Have a folder watched, or a folder or file taken.

        Parameters
        ----------
        most
            DAQs and uploads of one owner that may be at work; None: any number.

        Raises
        ------
        DaqError
            It cannot be as it is asked for, one of that folder runs already, or too many do.
        """
        check_new(new, sources=self._sources, home=self._home)
        uid, now, limit = uuid.uuid4().hex, time.time(), new.options.max_run_time_s
        values = values_of(new) | {
            "id": uid,
            "db_station": self._database.station,
            "state": DaqState.RUNNING,
            "drained": False,
            "reason": "",
            "created": now,
            "stop_at": None if limit is None else now + limit,
        }
        with self._database.begin() as connection:
            self._refuse_second(connection, new)
            _refuse_many(connection, new.owner, most)
            connection.execute(sa.insert(daqs).values(values))
            _notice(connection, uid, f"started by {actor}")
        return self.get(uid)

    def get(self, uid: str) -> Daq:
        """A DAQ or an upload.

        Raises
        ------
        DaqError
            There is none of that id, or several ids begin so.
        """
        matches = daqs.c.id.startswith(uid, autoescape=True) if len(uid) < 32 else daqs.c.id == uid
        with self._database.read() as connection:
            rows = connection.execute(sa.select(daqs).where(matches).limit(2)).all()
            if len(rows) != 1 or not uid:
                told = "several begin so: give more of it" if rows and uid else "there is none of that id"
                raise DaqError(f"DAQ or upload {uid!r}: {told}; see 'apsdm daq ls'")
            return daq_of(rows[0], _counts(connection, rows).get(rows[0].id))

    def list(
        self,
        *,
        kind: Kind | None = None,
        experiment: str | None = None,
        states: Sequence[DaqState] = (),
        owner: str | None = None,
        limit: int | None = None,
    ) -> "Sequence[Daq]":
        """Those of all stations that fit, the latest first."""
        query = sa.select(daqs).order_by(daqs.c.created.desc(), daqs.c.id).limit(limit)
        wanted = {"kind": kind, "experiment": experiment, "owner": owner}
        query = query.filter_by(**{name: value for name, value in wanted.items() if value is not None})
        if states:
            query = query.where(daqs.c.state.in_(states))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            counts = _counts(connection, rows)
        return [daq_of(row, counts.get(row.id)) for row in rows]

    def stop(self, uid: str, *, actor: str) -> Daq:
        """Have it look for no new files, and bring what it has seen to its end; one that ended stays so."""
        return self._change(uid, (DaqState.RUNNING,), DaqState.STOPPING, f"stopped by {actor}")

    def cancel(self, uid: str, *, actor: str) -> Daq:
        """Have it end at once; what it has taken stays taken. One that ended stays as it is."""
        return self._change(uid, ACTIVE, DaqState.ABORTED, f"cancelled by {actor}", ended=time.time())

    def files(
        self,
        uid: str,
        *,
        states: "Sequence[FileState]" = (),
        after: str | None = None,
        limit: int | None = None,
        versions: bool = False,
    ) -> "Sequence[DaqFile]":
        """Its files, the latest version of each, ordered by name.

        Parameters
        ----------
        after
            Only names that come after it: a listing in pages.
        versions
            Earlier versions as well, as `Counts` counts them, before later ones.
        """
        query = sa.select(files).where(files.c.daq == uid).order_by(files.c.name, files.c.version)
        query = query.limit(limit)
        if not versions:
            query = query.where(~_superseded())
        if states:
            query = query.where(files.c.state.in_(states))
        if after is not None:
            query = query.where(files.c.name > after)
        with self._database.read() as connection:
            return [file_of(row) for row in connection.execute(query)]

    def notices(self, uid: str, limit: int | None = None) -> "Sequence[Notice]":
        """What happened to its files, the latest last."""
        query = sa.select(notices).where(notices.c.daq == uid).order_by(notices.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Notice(time=row.time, name=row.name, text=row.text) for row in reversed(rows)]

    def _refuse_second(self, connection: sa.Connection, new: NewDaq) -> None:
        same = sa.select(daqs.c.id).where(
            daqs.c.source == str(new.source),
            daqs.c.root == str(new.root),
            daqs.c.kind == new.kind,
            daqs.c.state.in_(ACTIVE),
            daqs.c.db_station == self._database.station,
        )
        if (found := connection.execute(same).scalar()) is not None:
            raise DaqError(
                f"{new.source}: {new.kind} {found} takes it for {new.experiment} already; stop that one"
            )

    def _change(self, uid: str, of: Sequence[DaqState], to: DaqState, told: str, **values: Any) -> Daq:
        found = self.get(uid)
        change = sa.update(daqs).where(daqs.c.id == found.id, daqs.c.state.in_(of)).values(state=to, **values)
        with self._database.begin() as connection:
            if connection.execute(change).rowcount:
                _notice(connection, found.id, told)
        return self.get(found.id)


def open_daqs(config: "BeamlineConfig") -> DaqStore:
    """The DAQs of a beamline; raises as `Database`."""
    folders = config.folders
    return DaqStore(folders.daq, config.daq.database, sources=config.daq.sources, home=folders.root)


def _superseded() -> sa.Exists:
    """Whether there is a later version."""
    newer = files.alias()
    return sa.exists().where(
        newer.c.daq == files.c.daq, newer.c.name == files.c.name, newer.c.version > files.c.version
    )


def _refuse_many(connection: sa.Connection, owner: str, most: int | None) -> None:
    query = sa.select(sa.func.count()).where(daqs.c.owner == owner, daqs.c.state.in_(ACTIVE))
    if most is not None and connection.execute(query).scalar_one() >= most:
        raise DaqError(
            f"{owner} has {most} DAQs and uploads at work already; stop one, or wait until one ends"
        )


def _notice(connection: sa.Connection, uid: str, text: str) -> None:
    connection.execute(sa.insert(notices).values(daq=uid, time=time.time(), name="", text=text))


def _counts(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> dict[str, Counts]:
    """Of DAQs that have not kept them: how many files stand where; the bytes are those that were taken."""
    uids = [row.id for row in rows if row.counts is None]
    of_states = (
        sa.select(files.c.daq, files.c.state, sa.func.count(), sa.func.sum(files.c.size))
        .where(files.c.daq.in_(uids))
        .group_by(files.c.daq, files.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for uid, state, number, size in connection.execute(of_states):
        of_one = found.setdefault(uid, {"bytes": 0})
        of_one[state] = number
        if state in (FileState.STORED, FileState.CATALOGUED):
            of_one["bytes"] += int(size)
    return {uid: Counts(**counts) for uid, counts in found.items()}
