"""The database as those see it who do the work: files in bulk, a transaction for many."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.database import Database

from ._daq import Counts, Daq, DaqState, FileState
from ._rows import daq_of
from ._tables import TABLES, daqs, files, notices

_AT_ONCE = 500  # names in one question; SQLite takes no more than 32,766 values
_TAKEN = (FileState.STORED, FileState.CATALOGUED)
# A condition that SQLite takes no index for: by the one of states it would go through all that wait.
_WAITS = sa.func.coalesce(files.c.state, "") == FileState.WAITING


@dataclass(frozen=True, slots=True)
class Last:
    """The last version of a file that was taken: by the DAQ itself (`own`), or by another one.

    Parameters
    ----------
    ino
        The file's number where it was read; 0 where that is not known.
    source
        Where another DAQ has read it.
    left_out
        What that one's options leave out: `catalogue`, `archive`.
    workflow
        Owner and name of the one that it has started for each file; '' for none.
    """

    version: int
    path: str
    size: int
    mtime_ns: int
    sha256: str | None
    run: str | None
    own: bool
    ino: int = 0
    source: str = ""
    left_out: frozenset[str] = frozenset()
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a name: where it stands, as it was then, and the last version that was taken."""

    state: FileState
    size: int
    mtime_ns: int
    version: int
    last: Last | None
    ino: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a file that waits.

    Parameters
    ----------
    touched
        It is what `path` holds already: it has no row of its own, and the time in that one's is renewed.
    """

    name: str
    state: FileState
    size: int
    mtime_ns: int
    version: int = 1
    path: str | None = None
    sha256: str | None = None
    run: str | None = None
    reason: str = ""
    touched: bool = False
    ino: int = 0


class WorkStore:
    """DAQs that are to be worked on, and their files. Raises as `DaqStore`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._database = Database(folder, TABLES, url)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def station(self) -> str:
        """A name of the state folder that no other one has."""
        return self._database.station

    def undrained(self) -> Sequence[Daq]:
        """The station's DAQs whose files are not all at an end, without counts."""
        return self._list(daqs.c.drained.is_(False))

    def drained(self) -> Sequence[Daq]:
        """The station's DAQs that are to be ended: nothing is copied for them any more."""
        active = (DaqState.RUNNING, DaqState.STOPPING)
        return self._list(daqs.c.drained.is_(True), daqs.c.state.in_(active))

    def set_drained(self, daq: str) -> None:
        """Nothing will be copied for it any more."""
        with self._database.begin() as connection:
            connection.execute(sa.update(daqs).where(daqs.c.id == daq).values(drained=True))

    def hinder(self, daq: str, reason: str) -> None:
        """What hinders it now; '' where nothing does. One that has ended keeps its reason."""
        change = sa.update(daqs).where(daqs.c.id == daq, daqs.c.ended.is_(None))
        with self._database.begin() as connection:
            connection.execute(change.values(reason=reason))

    def stop_due(self) -> None:
        """Stop those whose time is over."""
        running = daqs.c.state == DaqState.RUNNING
        for daq in self._list(running, daqs.c.stop_at <= time.time()):
            stopping = sa.update(daqs).where(daqs.c.id == daq.id, running).values(state=DaqState.STOPPING)
            with self._database.begin() as connection:
                if connection.execute(stopping).rowcount:
                    _tell(connection, daq.id, [("", "stopped: its time is over")])

    def end(self, daq: str, state: DaqState, reason: str, counts: Counts) -> None:
        """It has ended."""
        values = {
            "state": state,
            "reason": reason,
            "ended": time.time(),
            "counts": json.dumps(asdict(counts)),
        }
        with self._database.begin() as connection:
            change = sa.update(daqs).where(daqs.c.id == daq, daqs.c.ended.is_(None))
            connection.execute(change.values(values))

    def known(self, daq: str) -> dict[str, Known]:
        """All names that a DAQ has seen, by their latest version."""
        columns = (files.c.name, files.c.state, files.c.size, files.c.mtime_ns, files.c.version, files.c.ino)
        query = sa.select(*columns, files.c.path, files.c.sha256, files.c.run).where(files.c.daq == daq)
        found: dict[str, Known] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.order_by(files.c.name, files.c.version)):
                before = found.get(row.name)
                last = None if before is None else before.last
                if row.state in _TAKEN:
                    last = _last(row, own=True)
                found[row.name] = Known(
                    FileState(row.state), row.size, row.mtime_ns, row.version, last, row.ino
                )
        return found

    def taken(self, bases: Sequence[str]) -> Mapping[str, Last]:
        """The last version of each place, absolute, that holds one, whichever DAQ has brought it."""
        query = self._of_others().order_by(files.c.version)
        found: dict[str, Last] = {}
        with self._database.read() as connection:
            for some in _parts(bases):
                rows = connection.execute(query.where(files.c.base.in_(some)))
                found.update((row.base, _others(row)) for row in rows)
        return found

    def holder(self, base: str, path: str) -> Last | None:
        """What is known of a version that lies at `path`, whichever DAQ has brought it."""
        query = self._of_others().where(files.c.base == base, files.c.path == path)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(files.c.id).limit(1)).one_or_none()
            return None if row is None else _others(row)

    def _of_others(self) -> sa.Select[Any]:
        mine = (
            daqs.c.db_station == self._database.station
        )  # others may have a disk of their own at the same path
        return (
            sa.select(files, daqs.c.source, daqs.c.options, daqs.c.owner)
            .join(daqs, daqs.c.id == files.c.daq)
            .where(files.c.state.in_(_TAKEN), mine)
        )

    def add(self, daq: str, new: Sequence[Change], bases: Mapping[str, str]) -> None:
        """Files that were seen for the first time, or have changed since they were taken."""
        rows = [
            _row(change) | {"daq": daq, "name": change.name, "base": bases[change.name]} for change in new
        ]
        if rows:
            with self._database.begin() as connection:
                connection.execute(sa.insert(files), rows)

    def revive(self, daq: str, names: Iterable[str]) -> None:
        """Files that could not be taken, or were gone, wait again."""
        ended = (FileState.FAILED, FileState.SKIPPED, FileState.VANISHED)
        with self._database.begin() as connection:
            for some in _parts(list(names)):
                change = sa.update(files).where(files.c.daq == daq, files.c.name.in_(some))
                connection.execute(
                    change.where(sa.func.coalesce(files.c.state, "").in_(ended)).values(
                        state=FileState.WAITING, reason=""
                    )
                )

    def forget(self, daq: str, name: str) -> None:
        """It was no file."""
        row = (files.c.daq == daq, files.c.name == name, files.c.path.is_(None))
        with self._database.begin() as connection:
            connection.execute(sa.delete(files).where(*row))

    def explain(self, daq: str, why: Sequence[tuple[str, str]]) -> None:
        """Why files wait, each a name and a reason."""
        waiting = (files.c.daq == daq, files.c.name == sa.bindparam("b_name"), _WAITS)
        rows = [{"b_name": name, "reason": reason} for name, reason in why]
        if rows:
            change = sa.update(files).where(*waiting).values(reason=sa.bindparam("reason"))
            with self._database.begin() as connection:
                connection.execute(change, rows)

    def apply(self, daq: str, changes: Sequence[Change], told: Sequence[tuple[str, str]] = ()) -> None:
        """Bring files that wait to where they stand now; `told` as in `tell`."""
        if not changes and not told:
            return
        waiting = (files.c.daq == daq, files.c.name == sa.bindparam("b_name"), _WAITS)
        moved = [_row(change) | {"b_name": change.name} for change in changes if not change.touched]
        touched = [change for change in changes if change.touched]
        with self._database.begin() as connection:
            if moved:
                values: dict[str, Any] = {name: sa.bindparam(name) for name in moved[0] if name != "b_name"}
                connection.execute(sa.update(files).where(*waiting).values(values), moved)
            for change in touched:
                connection.execute(sa.delete(files).where(*waiting), {"b_name": change.name})
                same = (files.c.daq == daq, files.c.name == change.name, files.c.path == change.path)
                connection.execute(
                    sa.update(files).where(*same).values(mtime_ns=change.mtime_ns, ino=change.ino)
                )
            _tell(connection, daq, told)

    def give_up(self, daq: str, state: FileState, reason: str) -> None:
        """Whatever waits is not taken."""
        waiting = (files.c.daq == daq, files.c.state == FileState.WAITING)
        with self._database.begin() as connection:
            connection.execute(
                sa.update(files).where(*waiting).values(state=state, reason=reason, updated=time.time())
            )

    def tell(self, daq: str, told: Iterable[tuple[str, str]]) -> None:
        """Keep notices, each a name and a text."""
        with self._database.begin() as connection:
            _tell(connection, daq, told)

    def _list(self, *conditions: sa.ColumnElement[bool]) -> Sequence[Daq]:
        mine = daqs.c.db_station == self._database.station
        query = sa.select(daqs).where(mine, *conditions).order_by(daqs.c.created, daqs.c.id)
        with self._database.read() as connection:
            return [daq_of(row) for row in connection.execute(query)]


def _tell(connection: sa.Connection, daq: str, told: Iterable[tuple[str, str]]) -> None:
    now = time.time()
    rows = [{"daq": daq, "time": now, "name": name, "text": text} for name, text in told]
    if rows:
        connection.execute(sa.insert(notices), rows)


def _row(change: Change) -> dict[str, object]:
    return {
        "state": change.state,
        "size": change.size,
        "mtime_ns": change.mtime_ns,
        "ino": change.ino,
        "version": change.version,
        "path": change.path,
        "sha256": change.sha256,
        "run": change.run,
        "reason": change.reason,
        "updated": time.time(),
    }


def _last(row: sa.Row[Any], *, own: bool, **more: Any) -> Last:
    return Last(row.version, row.path, row.size, row.mtime_ns, row.sha256, row.run, own, row.ino, **more)


def _others(row: sa.Row[Any]) -> Last:
    options = json.loads(row.options)
    left_out = frozenset(what for what in ("catalogue", "archive") if options[f"skip_{what}"])
    workflow = workflow_of(row.owner, options["workflow_owner"], options["workflow"], each=options["each"])
    return _last(row, own=False, source=f"{row.source}/{row.name}", left_out=left_out, workflow=workflow)


def workflow_of(owner: str, workflow_owner: str | None, name: str | None, *, each: bool) -> str:
    """Owner and name of the workflow that a DAQ starts for each file; '' for none."""
    return f"{workflow_owner or owner}/{name}" if name is not None and each else ""


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
