"""A ledger of many archived runs, as some years of a beamline leave them, written in bulk."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.archive import Ledger, LocalCopy, State
from apsdm_bluesky.archive._tables import bundled, records, runs, transitions

FIRST_DAY = 1_700_000_000.0  # 2023-11-14
DAY_S = 86_400.0
DAYS = 730
EXPERIMENTS = 500
HISTORY = ("Requested", "Planned", "Bundled", "SendPrepared", "SendAccepted", "Arrived", "ReadBack")
_CHUNK = 5_000
_NOT_VERIFIED = (State.QUEUED, State.PARKED, State.QUARANTINED, State.COPIED)


def a_uid() -> str:
    """Of the first run that `fill` adds."""
    return _uid(random.Random(1))


def fill(ledger: Ledger, count: int) -> None:
    """Add `count` runs, each with a bundle and its history; one in a thousand is not verified."""
    rng = random.Random(1)
    station = ledger.database.station
    for first in range(0, count, _CHUNK):
        rows = [_run(rng, number, count, station) for number in range(first, min(first + _CHUNK, count))]
        with ledger.database.begin() as connection:
            connection.execute(sa.insert(runs), rows)
            connection.execute(sa.insert(records), [_record(row) for row in rows])
            links = [{"run": row["uid"], "bundle": row["uid"], "place": 0} for row in rows]
            connection.execute(sa.insert(bundled), links)
            connection.execute(sa.insert(transitions), [line for row in rows for line in _history(row)])
    with ledger.database.begin() as connection:
        if connection.dialect.name == "postgresql":  # which does that by itself, within minutes
            connection.exec_driver_sql("ANALYZE")


def _run(rng: random.Random, number: int, count: int, station: str) -> dict[str, Any]:
    started = FIRST_DAY + DAYS * DAY_S * number / count
    uid = _uid(rng)
    state = _NOT_VERIFIED[number % len(_NOT_VERIFIED)] if rng.random() < 0.001 else State.VERIFIED
    return {
        "uid": uid,
        "station": station,
        "collection": "globus",
        "experiment": f"experiment-{number * EXPERIMENTS // count}",
        "started": started,
        "size": rng.randrange(10**6, 10**12),
        "state": state,
        "reason": "",
        "local": LocalCopy.HELD,
        "local_reason": "",
        "created": started + 60,
        "updated": started + 3600,
    }


def _uid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


def _record(run: dict[str, Any]) -> dict[str, Any]:
    same = ("uid", "station", "collection", "state", "reason", "size", "created", "updated")
    return {
        **{key: run[key] for key in same},
        "needs_person": False,
        "destination": f"2023/11/{run['uid']}.tar",
        "sha256": "0" * 64,
        "md5": "0" * 32,
        "residency": "unknown",
    }


def _history(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, event in enumerate(HISTORY):
        yield {
            "uid": run["uid"],
            "time": run["created"] + number,
            "event": event,
            "from_state": None if number == 0 else State.QUEUED,
            "to_state": State.QUEUED,
            "evidence": "{}",
            "actor": "agent",
        }
