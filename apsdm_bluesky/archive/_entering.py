"""Entering what was found again into the ledger, in the transaction that makes it."""

import time
from dataclasses import asdict

import sqlalchemy as sa

from ._machine import TransitionError
from ._record import Record, State
from ._runs import RunEntry
from ._tables import bundled, records, runs


def check_free(connection: sa.Connection, record: Record) -> State | None:
    """The state of the record that the ledger has of this bundle, which tells of no tar; None: it has none.

    Raises
    ------
    TransitionError
        It has one that tells of a tar or has other runs, or one of the runs is in a bundle that is no part of
        this one.
    """
    query = sa.select(records.c.state, records.c.sha256).where(records.c.uid == record.uid)
    known = connection.execute(query).one_or_none()
    held = sa.select(bundled.c.run, bundled.c.bundle).where(bundled.c.run.in_(record.runs))
    parts = {record.uid, *(f"{record.runs[0]}.{part}of{record.parts}" for part in range(1, record.parts + 1))}
    for run, bundle in connection.execute(held):
        if bundle not in parts:
            raise TransitionError(f"bundle {record.uid}: run {run} is in bundle {bundle}")
    if known is None:
        return None
    if known.sha256 is not None:
        raise TransitionError(f"bundle {record.uid}: the ledger has a record of it")
    held = sa.select(bundled.c.run).where(bundled.c.bundle == record.uid).order_by(bundled.c.place)
    if tuple(connection.execute(held).scalars()) != record.runs:
        raise TransitionError(f"bundle {record.uid}: the ledger has it with other runs")
    return State(known.state)


def enter_run(connection: sa.Connection, station: str, entry: RunEntry) -> None:
    """Add a run, or tell of one that is requested already where its raw data are."""
    now = time.time()
    found = {"local": entry.local, "local_reason": entry.local_reason, "size": entry.size, "updated": now}
    changed = connection.execute(sa.update(runs).where(runs.c.uid == entry.uid).values(found))
    if not changed.rowcount:
        connection.execute(sa.insert(runs).values(asdict(entry) | {"updated": now, "station": station}))
