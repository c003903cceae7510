"""A new version, or another clock, in the middle of the work: row 28."""

import sqlite3

import pytest
import sqlalchemy as sa

from apsdm_bluesky.archive import State
from apsdm_bluesky.archive._tables import records, runs, transitions

from .world import READ, SENT

YEAR = 365 * 86400

# As the first version made them.
FIRST_SCHEMA = """
CREATE TABLE records (
    uid VARCHAR NOT NULL PRIMARY KEY, collection VARCHAR NOT NULL, state VARCHAR NOT NULL,
    reason VARCHAR NOT NULL, needs_person BOOLEAN NOT NULL, resume_at VARCHAR, destination VARCHAR,
    size BIGINT, sha256 VARCHAR, md5 VARCHAR, manifest_size BIGINT, manifest_sha256 VARCHAR,
    submission_id VARCHAR, task_id VARCHAR, residency VARCHAR NOT NULL, read_submission_id VARCHAR,
    read_task_id VARCHAR, evidence VARCHAR, created FLOAT NOT NULL, updated FLOAT NOT NULL
);
CREATE INDEX ix_records_state ON records (state);
CREATE TABLE transitions (
    id INTEGER NOT NULL PRIMARY KEY, uid VARCHAR NOT NULL REFERENCES records (uid), time FLOAT NOT NULL,
    event VARCHAR NOT NULL, from_state VARCHAR, to_state VARCHAR NOT NULL, evidence VARCHAR NOT NULL,
    actor VARCHAR NOT NULL
);
CREATE INDEX ix_transitions_uid ON transitions (uid);
"""
FILL = """
INSERT INTO records SELECT uid, collection, state, reason, needs_person, resume_at, destination, size, sha256,
    md5, manifest_size, manifest_sha256, submission_id, task_id, residency, read_submission_id, read_task_id,
    evidence, created, updated FROM now.records;
INSERT INTO transitions SELECT * FROM now.transitions;
"""


def as_first_version(world) -> None:
    """The ledger becomes what the first version would have in its place."""
    path = world.folders.archive / "ledger.sqlite"
    old = path.with_name("first.sqlite")
    with sqlite3.connect(old, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(FIRST_SCHEMA)
        connection.execute("ATTACH ? AS now", (str(path),))
        connection.executescript(FILL)
        connection.execute("DETACH now")
    connection.close()
    for gone in world.folders.archive.glob("ledger.sqlite*"):
        gone.unlink()
    old.rename(path)


def move_clock(world, seconds: float) -> None:
    """All times in the ledger are as of a clock that went ahead by so much."""
    with world.ledger() as ledger, ledger.database.begin() as connection:
        for table in (records, runs):
            changed = {"created": table.c.created + seconds, "updated": table.c.updated + seconds}
            connection.execute(sa.update(table).values(changed))
        connection.execute(sa.update(transitions).values(time=transitions.c.time + seconds))


def until_queued(world) -> None:
    world.globus.fault("submission_id", drop_request=True, times=1000)
    world.until_hit("submission_id")


def until_submitted(world) -> None:
    world.globus.configure(hold_at_bytes=1)
    world.until(State.SUBMITTED)


def until_reading(world) -> None:
    world.globus.configure(staging_s=None)
    world.until(State.COPIED, reason="tries again")


def until_parked(world) -> None:
    world.globus.delete_client()
    world.until(State.PARKED)


MOMENTS = [until_queued, until_submitted, until_reading, until_parked]


@pytest.mark.fault(28)
@pytest.mark.parametrize("reach", MOMENTS)
def test_upgraded_in_flight(world, reach):
    world.take("before")
    world.start()
    before = world.until(State.VERIFIED, "before")
    world.take()
    reach(world)
    world.kill()
    record = world.look()["raw"]
    as_first_version(world)
    end_trouble(world)
    world.start()
    if record.needs_person:
        world.resume()
    again = world.until(State.VERIFIED)
    if record.submission_id is not None:
        assert again.submission_id == record.submission_id
    with world.ledger() as ledger:
        kept = ledger.get("before")
    assert (kept.sha256, kept.evidence, kept.updated) == (before.sha256, before.evidence, before.updated)
    assert world.history()[0] == "Requested"
    world.check(SENT, READ, SENT, READ)


@pytest.mark.fault(28)
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
@pytest.mark.parametrize("reach", MOMENTS[:2])
def test_the_clock_jumps(world, reach, jump):
    world.take()
    world.start()
    reach(world)
    world.kill()
    move_clock(world, jump)
    end_trouble(world)
    world.start()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(28)
def test_what_waits_for_company_and_an_analysis_goes_on_when_the_clock_was_set_back(make_world):
    world = make_world(bundle_wait_s=3600)
    world.sample.start("analysis", raw_uid="raw")
    world.take()
    world.take("small")
    world.start()
    world.until_run("waits for its analysis")
    world.until_run("waits for other small runs", "small")
    world.kill()
    move_clock(world, YEAR)
    world.start()
    assert world.until(State.VERIFIED).runs == ("raw", "small")
    world.sample.stop("analysis")
    world.until_run("waits for other", "analysis")
    world.kill()
    move_clock(world, YEAR)
    world.start()
    world.until(State.VERIFIED, "analysis")
    world.check()


def end_trouble(world) -> None:
    world.globus.clear_faults()
    world.globus.configure(hold_at_bytes=None, staging_s=0.0)
    world.globus.delete_client(deleted=False)
