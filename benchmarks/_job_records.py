"""Jobs of some years, written in bulk."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.workflows.jobs import JobStore, State
from apsdm_bluesky.workflows.jobs._tables import jobs, stages

FIRST_DAY = 1_700_000_000.0  # 2023-11-14
OWNERS = 300
WORKFLOWS = 20
_CHUNK = 5_000
_STATES = (State.DONE,) * 90 + (State.FAILED,) * 8 + (State.ABORTED,) * 2


def fill(store: JobStore, count: int) -> None:
    """Add `count` jobs of three stages, of which nearly all ended."""
    rng = random.Random(1)
    database = store._database  # noqa: SLF001 - in bulk
    for first in range(0, count, _CHUNK):
        rows = [_job(rng, number, database.station) for number in range(first, min(first + _CHUNK, count))]
        with database.begin() as connection:
            connection.execute(sa.insert(jobs), rows)
            connection.execute(sa.insert(stages), [line for row in rows for line in _stages(row)])
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":  # which does that by itself, within minutes
            connection.exec_driver_sql("ANALYZE")


def _job(rng: random.Random, number: int, station: str) -> dict[str, Any]:
    created = FIRST_DAY + 600.0 * number
    return {
        "id": uuid.UUID(int=rng.getrandbits(128)).hex,
        "station": station,
        "owner": f"user{rng.randrange(OWNERS)}",
        "workflow_owner": "staff",
        "workflow": f"workflow{rng.randrange(WORKFLOWS)}",
        "version": 1,
        "stages": json.dumps(["one", "two", "three"]),
        "arguments": json.dumps({"filePath": f"/data/{number}.h5", "qmap": "qmap.h5"}),
        "run": f"run{number}",
        "rule": "after",
        "first": 0,
        "state": rng.choice(_STATES),
        "stage": 2,
        "variables": "{}",
        "ran": True,
        "entered": False,
        "round": 0,
        "retry": 0,
        "lost": 0,
        "reason": "",
        "pinned": False,
        "created": created,
        "started": created + 1,
        "ended": created + 60,
        "revision": 8,
    }


def _stages(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for index, name in enumerate(("one", "two", "three")):
        times = {"started": job["started"] + 20 * index, "ended": job["started"] + 20 * index + 19}
        state = State.DONE if index < 2 else job["state"]
        yield {
            "job": job["id"],
            "index": index,
            "name": name,
            "state": state,
            "reason": "",
            "outputs": "{}",
            **times,
        }
