"""The archive's durable truth: one record a bundle, one entry a run, and every transition of both."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.database import Database

from ._entering import check_free, enter_run
from ._events import Event
from ._history import TransitionEntry, log_transition, read_history
from ._machine import TransitionError, apply
from ._reading_table import ReadingTable
from ._record import Evidence, Record, State
from ._runs import RunEntry, RunTable, refresh_runs
from ._tables import TABLES, bundled, records


class Ledger:
    """The records of this station's bundles. Any process may read and write; one agent a station drives them.

    Every method raises `StorageError` where the database cannot be read or written, `ServiceError` where its
    server does not answer.

    Parameters
    ----------
    folder, url
        See `Database`.

    Attributes
    ----------
    runs
        The runs whose bundles these are.
    readings
        What is read back from the archive.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.database = Database(folder, TABLES, url)
        self.runs = RunTable(self.database)
        self.readings = ReadingTable(self.database)

    def plan(self, runs: Sequence[str], *, parts: int = 1, actor: str) -> list[str]:
        """Queue the bundles that are to hold `runs`, which are in the ledger and in no bundle yet.

        Returns
        -------
        Their uids, one a part.
        """
        now = time.time()
        collection = self._entry(runs[0]).collection
        planned = [
            Record(
                uid=runs[0] if parts == 1 else f"{runs[0]}.{part}of{parts}",
                collection=collection,
                part=part,
                parts=parts,
                created=now,
                updated=now,
            )
            for part in range(1, parts + 1)
        ]
        with self.database.begin() as connection:
            taken = sa.select(bundled.c.run).where(bundled.c.run.in_(runs))
            if connection.execute(taken).first() is not None:
                raise TransitionError(f"run {runs[0]} or its company is in a bundle already")
            for record in planned:
                connection.execute(
                    sa.insert(records).values(_row(record) | {"station": self.database.station})
                )
                places = [{"run": run, "bundle": record.uid, "place": n} for n, run in enumerate(runs)]
                connection.execute(sa.insert(bundled), places)
                _log(connection, None, record, "Planned", {"runs": list(runs)}, actor)
        return [record.uid for record in planned]

    def enter(
        self,
        record: Record,
        entries: Sequence[RunEntry],
        event: Event,
        *,
        evidence: dict[str, Any],
        actor: str,
    ) -> Record:
        """Enter a bundle that was found again, with its runs, after `event`; returns its record.

        Parameters
        ----------
        record
            In the state QUEUED. One that the ledger has of the same runs, and that tells of no tar, is taken.
        evidence
            What the bundle was found by, for the history.

        Raises
        ------
        TransitionError
            The ledger has another record of it, or has one of its runs in another bundle: nothing is changed.
        """
        with self.database.begin() as connection:
            known = check_free(connection, record)
            for entry in entries:
                enter_run(connection, self.database.station, entry)
            if known is None:
                connection.execute(
                    sa.insert(records).values(_row(record) | {"station": self.database.station})
                )
                places = [{"run": run, "bundle": record.uid, "place": n} for n, run in enumerate(record.runs)]
                connection.execute(sa.insert(bundled), places)
            blank = _stamped(record)
            _log(connection, known, blank, "Rebuilt", evidence, actor)
            after = _stamped(apply(blank, event))
            connection.execute(sa.update(records).where(records.c.uid == record.uid).values(_row(after)))
            _log(connection, blank.state, after, type(event).__name__, dataclasses.asdict(event), actor)
            refresh_runs(connection, after.runs)
        return after

    def check_free(self, record: Record) -> None:
        """Raise the `TransitionError` that `enter` would, and change nothing."""
        with self.database.read() as connection:
            check_free(connection, record)

    def apply(self, uid: str, event: Event, *, actor: str) -> Record:
        """Put a bundle's record through `event` and keep both, or neither; returns the new record.

        Raises
        ------
        TransitionError
            The event cannot happen in the record's state.
        """
        with self.database.begin() as connection:
            query = sa.select(records).where(records.c.uid == uid).with_for_update()
            before = _record(connection.execute(query).one(), _runs_in(connection, [uid]).get(uid, ()))
            after = _stamped(apply(before, event))
            connection.execute(sa.update(records).where(records.c.uid == uid).values(_row(after)))
            _log(connection, before.state, after, type(event).__name__, dataclasses.asdict(event), actor)
            if (before.state, before.reason) != (after.state, after.reason):
                refresh_runs(connection, after.runs)
        return after

    def get(self, uid: str) -> Record | None:
        """The record of a bundle; None where there is none."""
        found = self._select(sa.select(records).where(records.c.uid == uid))
        return found[0] if found else None

    def list(self, *states: State) -> Sequence[Record]:
        """The station's bundles in any of `states` (where none is given: all), in the order of planning."""
        query = sa.select(records).where(records.c.station == self.database.station)
        if states:
            query = query.where(records.c.state.in_(states))
        return self._select(query.order_by(records.c.created, records.c.uid))

    def bundles_of(self, run: str) -> Sequence[Record]:
        """The bundles that hold a run, in the order of their parts."""
        query = sa.select(records).join(bundled, bundled.c.bundle == records.c.uid)
        return self._select(query.where(bundled.c.run == run).order_by(records.c.part))

    def history(self, uid: str) -> Sequence[TransitionEntry]:
        """What happened to a bundle, and to the run of that uid, in order."""
        with self.database.read() as connection:
            return read_history(connection, [uid])

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _select(self, query: Any) -> "Sequence[Record]":
        with self.database.read() as connection:
            rows = connection.execute(query).all()
            runs = _runs_in(connection, [row.uid for row in rows])
        return [_record(row, runs.get(row.uid, ())) for row in rows]

    def _entry(self, uid: str) -> Any:
        entry = self.runs.get(uid)
        if entry is None:
            raise TransitionError(f"run {uid} is not in the ledger")
        return entry


def _runs_in(connection: sa.Connection, bundles: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The runs of each bundle."""
    runs: dict[str, tuple[str, ...]] = {}
    for first in range(0, len(bundles), 500):  # databases bound the number of parameters
        some = bundles[first : first + 500]
        query = sa.select(bundled).where(bundled.c.bundle.in_(some)).order_by(bundled.c.place)
        for row in connection.execute(query):
            runs[row.bundle] = (*runs.get(row.bundle, ()), row.run)
    return runs


def _stamped(after: Record) -> Record:
    now = time.time()
    return dataclasses.replace(after, updated=now, verified=now if after.evidence else None)


def _row(record: Record) -> dict[str, Any]:
    fields = dataclasses.asdict(record)
    del fields["runs"]
    return fields


def _record(row: sa.Row[Any], runs: tuple[str, ...]) -> Record:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    del fields["station"]
    fields["state"] = State(fields["state"])
    for name, kind in (("resume_at", State), ("evidence", Evidence)):
        fields[name] = None if fields[name] is None else kind(fields[name])
    return Record(**fields, runs=runs)


def _log(
    connection: sa.Connection,
    before: State | None,
    after: Record,
    event: str,
    evidence: dict[str, Any],
    actor: str,
) -> None:
    log_transition(
        connection,
        after.uid,
        time=after.updated,
        event=event,
        states=(before, after.state),
        evidence=evidence,
        actor=actor,
    )
