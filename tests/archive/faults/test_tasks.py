"""Tasks that end otherwise than they should: rows 18 to 21 and 23."""

import pytest

from apsdm_bluesky.archive import State
from tests.waiting import wait_for

from .world import PATIENCE_S, READ, SENT

FAILED = "send FAILED"


def hold(world) -> dict:
    """Have the agent submit a run, and its copy stop in the middle; returns the task."""
    world.globus.configure(hold_at_bytes=1)
    world.take()
    world.start()
    world.until(State.SUBMITTED)
    return world.tasks()[0]


@pytest.mark.fault(18)
def test_a_missing_file_is_told_while_the_task_is_active(world):
    """The tar is lost under Globus' hands: the task would go on till its deadline."""
    world.globus.pause("tape")
    world.take()
    world.start()
    world.until(State.SUBMITTED, reason="paused")
    (world.folders.archive / "bundles/raw.tar").unlink()
    world.globus.resume("tape")
    parked = world.until(State.PARKED, reason="FILE_NOT_FOUND")
    assert parked.needs_person
    assert "raw.tar" in parked.reason
    assert world.tasks()[0]["fatal_error"]["code"] == "CANCELED"
    world.resume()
    world.until(State.VERIFIED)
    assert "BundleLost" in world.history()
    world.check(FAILED, SENT, READ)


@pytest.mark.fault(19)
def test_a_quota_parks_and_nothing_is_deleted(world):
    world.take("before")
    world.start()
    world.until(State.VERIFIED, "before")
    world.globus.quota("tape", 1)
    world.take()
    parked = world.until(State.PARKED, reason="QUOTA_EXCEEDED")
    assert parked.needs_person
    assert "nothing was removed" in parked.reason
    world.globus.quota("tape", None)
    world.resume()
    world.until(State.VERIFIED)
    world.check(SENT, READ, FAILED, SENT, READ)


@pytest.mark.fault(20)
@pytest.mark.parametrize("code", ["EXPIRED", "CANCELED"])
def test_a_task_that_was_ended_is_sent_again_under_a_new_id(world, code):
    """The deadline passed, or a person cancelled it; what is there already is compared by checksum."""
    first = hold(world)
    with world.frozen():
        world.globus.fail(first["task_id"], code, "not by us")
        world.globus.configure(hold_at_bytes=None)
    world.until(State.VERIFIED)
    sent = world.tasks()[1]
    assert sent["submission_id"] != first["submission_id"]
    assert (sent["sync_level"], sent["verify_checksum"]) == (3, True)
    world.check(FAILED, SENT, READ)


@pytest.mark.fault(21)
@pytest.mark.parametrize("wrong", ["truncate", "skip"])
@pytest.mark.parametrize("which", ["tar", "manifest"])
def test_succeeded_with_a_wrong_size_or_files_left_out_is_sent_again(world, wrong, which):
    world.globus.fault("copy", after=0 if which == "tar" else 1, **{wrong: True})
    world.take()
    world.start()
    world.until(State.VERIFIED)
    assert "SendFailed" in world.history()
    world.check(SENT, SENT, READ)


@pytest.mark.fault(21)
@pytest.mark.parametrize("which", ["tar", "manifest"])
def test_succeeded_with_a_wrong_content_is_never_verified(world, which):
    """HPSS tells the MD5 that it stored, so only reading back shows it."""
    world.globus.fault("copy", after=0 if which == "tar" else 1, corrupt=True)
    world.take()
    world.start()
    parked = world.until(State.PARKED)
    assert parked.needs_person
    assert "VERIFIED" not in [entry.to_state for entry in entries(world)]
    for path in sorted(world.tape("test").rglob("raw.*")):
        path.rename(world.tape(path.name))
    world.resume()
    world.until(State.VERIFIED)
    assert "DestinationMissing" in world.history()
    told = world.told_tasks()
    assert told.count(SENT) == 2
    world.check(*told, beside=("raw.tar", "raw.manifest.json"))


@pytest.mark.fault(23)
def test_a_forgotten_task_is_verified_by_what_is_there(world):
    first = hold(world)
    with world.frozen():
        world.globus.configure(hold_at_bytes=None)
        wait_for(lambda: world.told_tasks() == [SENT], PATIENCE_S, "the end of the task")
        world.globus.purge(first["task_id"])
    world.until(State.VERIFIED)
    sent = world.tasks()[0]
    assert (sent["files_skipped"], sent["files_transferred"], sent["sync_level"]) == (2, 0, 3)
    world.check(SENT, READ)


@pytest.mark.fault(23)
def test_a_forgotten_task_is_asked_for_when_its_files_have_their_names(world):
    """The agent is killed between the renames and the record of their end."""
    world.take()
    world.globus.fault("rename", drop_reply=True, times=1000)
    world.start()
    world.until_hit("rename", 2)
    record = world.until(State.SUBMITTED)
    world.kill()
    world.globus.clear_faults()
    world.globus.purge(record.task_id)
    world.start()
    world.until(State.VERIFIED)
    told = world.told_tasks()
    assert told[-1] == READ
    world.check(*told)


def entries(world):
    with world.ledger() as ledger:
        return ledger.history("raw")
