"""The readings in the ledger: what is read back from the archive, for whom, and how far it is."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.database import Database

from ._events import Event
from ._history import TransitionEntry, log_transition, read_history
from ._local_copy import LocalCopy, LocalRestored, RestoreAsked, RestoreGivenUp
from ._machine import TransitionError
from ._reading import ENDED, Purpose, Reading, ReadingState
from ._reading_machine import apply_reading
from ._runs import apply_to_run, lock_run
from ._tables import readings


class ReadingTable:
    """The station's readings in the ledger; see there for what is raised."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, wanted: Sequence[Reading], *, actor: str) -> None:
        """Enter the readings of one job, all or none.

        Raises
        ------
        TransitionError
            They bring a run back into its place, which another job is doing, or which is being removed.
        """
        now = time.time()
        with self._database.begin() as connection:
            if wanted[0].purpose is Purpose.RESTORE and wanted[0].run is not None:
                self._admit(connection, wanted[0], actor)
            for reading in wanted:
                values = _row(replace(reading, created=now, updated=now))
                connection.execute(sa.insert(readings).values(values | {"station": self._database.station}))
                _log(connection, None, reading, "Asked", {"bundle": reading.bundle}, actor, now)

    def apply(self, uid: str, event: Event, *, actor: str) -> Reading:
        """Put a reading through `event` and keep both, or neither; returns the new reading.

        With the last one of a job that brings a run back, the run is here again, or it was given up.

        Raises
        ------
        TransitionError
            The event cannot happen in the reading's state, or there is no such reading.
        """
        now = time.time()
        with self._database.begin() as connection:
            row = connection.execute(
                sa.select(readings).where(readings.c.uid == uid).with_for_update()
            ).one_or_none()
            if row is None:
                raise TransitionError(f"reading {uid} is not in the ledger")
            before = _reading(row)
            after = replace(apply_reading(before, event), updated=now)
            connection.execute(sa.update(readings).where(readings.c.uid == uid).values(_row(after)))
            _log(connection, before.state, after, type(event).__name__, asdict(event), actor, now)
            if after.ended and after.brings_run_back:
                _end_job(connection, after, actor)
        return after

    def get(self, uid: str) -> Reading | None:
        """The reading; None where there is none."""
        found = self._select(readings.c.uid == uid)
        return found[0] if found else None

    def job(self, job: str) -> Sequence[Reading]:
        """The readings of a job, in the order of their bundles."""
        return self._select(readings.c.job == job)

    def list(self, *states: ReadingState, purpose: Purpose | None = None) -> Sequence[Reading]:
        """The station's readings in any of `states` (where none is given: all), in the order of asking."""
        conditions = [readings.c.station == self._database.station]
        if states:
            conditions.append(readings.c.state.in_(states))
        if purpose is not None:
            conditions.append(readings.c.purpose == purpose)
        return self._select(*conditions)

    def unfinished(self) -> Sequence[Reading]:
        """The station's readings that have not ended."""
        return self.list(*(state for state in ReadingState if state not in ENDED))

    def of_run(self, run: str) -> Sequence[Reading]:
        """All readings for a run, in the order of asking."""
        return self._select(readings.c.run == run)

    def history(self, uid: str) -> Sequence[TransitionEntry]:
        """What happened to a reading, in order."""
        with self._database.read() as connection:
            return read_history(connection, [uid])

    def _admit(self, connection: sa.Connection, asked: Reading, actor: str) -> None:
        """One job a run into its place at a time. A run that was released is on its way back from here on."""
        run = lock_run(connection, str(asked.run))
        if asked.target is not None:
            return
        other = connection.execute(_into_place(run.uid)).first()
        if other is not None:
            raise TransitionError(f"run {run.uid}: job {other.job} restores it already; wait for its end")
        if run.local is LocalCopy.RELEASING:
            raise TransitionError(f"run {run.uid}: is being released; restore it when that is done")
        if asked.brings_run_back and run.local is LocalCopy.RELEASED:
            apply_to_run(connection, run.uid, RestoreAsked(job=asked.job), actor=actor)

    def _select(self, *conditions: sa.ColumnElement[bool]) -> "Sequence[Reading]":
        query = sa.select(readings).where(*conditions).order_by(readings.c.created, readings.c.uid)
        with self._database.read() as connection:
            return [_reading(row) for row in connection.execute(query)]


def _into_place(run: str) -> "sa.Select[Any]":
    """The unfinished readings that put files of a run into their places."""
    return sa.select(readings).where(
        readings.c.run == run,
        readings.c.purpose == Purpose.RESTORE,
        readings.c.target.is_(None),
        readings.c.state.not_in(ENDED),
    )


def _end_job(connection: sa.Connection, last: Reading, actor: str) -> None:
    """The run's local copy when the job's last reading has ended."""
    run = lock_run(connection, str(last.run))  # two that end at once see each other
    rows = connection.execute(sa.select(readings).where(readings.c.job == last.job)).all()
    job = [_reading(row) for row in rows]
    if run.local is not LocalCopy.RESTORING or not all(reading.ended for reading in job):
        return
    failed = next((reading for reading in job if reading.state is not ReadingState.RESTORED), None)
    event = LocalRestored() if failed is None else RestoreGivenUp(local_reason=failed.reason)
    apply_to_run(connection, run.uid, event, actor=actor)


def _row(reading: Reading) -> dict[str, Any]:
    fields = asdict(reading)
    fields["members"] = None if reading.members is None else json.dumps(reading.members)
    return fields


def _reading(row: sa.Row[Any]) -> Reading:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    del fields["station"]
    fields["purpose"], fields["state"] = Purpose(fields["purpose"]), ReadingState(fields["state"])
    if fields["resume_at"] is not None:
        fields["resume_at"] = ReadingState(fields["resume_at"])
    if fields["members"] is not None:
        fields["members"] = tuple(json.loads(fields["members"]))
    return Reading(**fields)


def _log(
    connection: sa.Connection,
    before: ReadingState | None,
    after: Reading,
    event: str,
    evidence: dict[str, Any],
    actor: str,
    now: float,
) -> None:
    log_transition(
        connection,
        after.uid,
        time=now,
        event=event,
        states=(before, after.state),
        evidence=evidence,
        actor=actor,
    )
