"""Submissions: one task each, whatever is lost on the way."""

import pytest

from apsdm_bluesky.archive import State

from .world import READ, SENT

LOST = {"drop_reply": True, "times": 2}  # the SDK asks once again by itself


@pytest.mark.fault(10)
def test_the_answer_to_a_submission_is_lost(world):
    world.globus.fault("transfer", **LOST)
    world.take()
    world.start()
    world.until(State.VERIFIED)
    assert len(world.globus.faults_hit("transfer")) == 2
    world.check(SENT, READ)


@pytest.mark.fault(10)
def test_the_answer_to_a_submission_is_lost_with_the_agent(world):
    world.globus.fault("transfer", drop_reply=True, times=1000)
    world.take()
    world.start()
    world.until_hit("transfer")
    record = world.until(State.BUNDLED)
    world.kill()
    world.globus.clear_faults()
    world.start()
    world.until(State.VERIFIED)
    assert world.tasks()[0]["submission_id"] == record.submission_id
    world.check(SENT, READ)


@pytest.mark.fault(11)
def test_killed_between_the_submission_id_and_its_use(world):
    world.globus.fault("transfer", drop_request=True, times=1000)
    world.take()
    world.start()
    world.until_hit("transfer")
    record = world.until(State.BUNDLED)
    assert record.submission_id is not None
    assert world.tasks() == []
    world.kill()
    world.globus.clear_faults()
    world.start()
    world.until(State.VERIFIED)
    assert world.tasks()[0]["submission_id"] == record.submission_id
    world.check(SENT, READ)


@pytest.mark.fault(12)
def test_a_conflict_finds_its_own_task(world):
    world.globus.fault("transfer", drop_reply=True)
    world.globus.fault("transfer", status=409, code="Conflict")
    world.take()
    world.start()
    world.until(State.VERIFIED)
    assert len(world.globus.faults_hit("transfer")) == 2
    world.check(SENT, READ)


@pytest.mark.fault(12)
def test_a_conflict_with_a_forgotten_task_waits_for_its_end(world):
    """The mover's records are lost. The old task is never taken for the new one; what it sent is used."""
    world.globus.configure(hold_at_bytes=1)
    world.take()
    world.start()
    old = world.until(State.SUBMITTED)
    world.kill()
    forget_tasks(world)
    world.start()
    record = world.until(State.BUNDLED, reason="another task moves the same files")
    assert record.submission_id != old.submission_id
    world.globus.configure(hold_at_bytes=None)
    world.until(State.VERIFIED)
    world.check(SENT, SENT, READ)
    assert [task["files_skipped"] for task in world.tasks()] == [0, 2, 0]


@pytest.mark.fault(22)
def test_the_same_bundle_at_the_destination_is_adopted(world):
    world.take()
    world.start()
    first = world.until(State.VERIFIED)
    before = [path.stat().st_ino for path in sorted(world.tape().rglob("*"))]
    world.kill()
    forget(world)
    world.start()
    again = world.until(State.VERIFIED)
    assert again.sha256 == first.sha256
    assert [path.stat().st_ino for path in sorted(world.tape().rglob("*"))] == before
    world.check(SENT, READ, READ, READ)  # the first of the two new ones fetches for the comparison


@pytest.mark.fault(22)
@pytest.mark.parametrize("same_size", [False, True])
def test_another_file_at_the_destination_is_never_overwritten(world, same_size):
    if same_size:
        world.globus.fault("transfer", drop_request=True, times=1000)
    world.take()
    target = world.tape("test/2023/11/raw.tar")
    target.parent.mkdir(parents=True)
    target.write_bytes(b"somebody's only copy")
    if same_size:
        target.rename(world.tape("kept"))
        world.start()
        world.until_hit("transfer")
        record = world.until(State.BUNDLED)
        world.kill()
        forget(world)
        target.write_bytes(b"x" * record.size)
        world.globus.clear_faults()
    world.start()
    world.until(State.PARKED, reason="never overwritten")
    content = target.read_bytes()
    assert content in (b"somebody's only copy", b"x" * len(content))
    world.kill()
    world.start()
    assert world.until(State.PARKED).needs_person
    assert target.read_bytes() == content
    target.rename(world.tape("moved"))
    world.resume()
    world.until(State.VERIFIED)
    beside = ("kept", "moved") if same_size else ("moved",)
    world.check(*([READ] if same_size else []), SENT, READ, beside=beside)


def forget(world) -> None:
    """Lose the ledger and the mover's records, as with a new disk."""
    for path in world.folders.archive.glob("ledger.sqlite*"):
        path.unlink()
    forget_tasks(world)


def forget_tasks(world) -> None:
    """Lose the mover's records alone."""
    for path in (world.folders.globus / "tasks").iterdir():
        path.unlink()
