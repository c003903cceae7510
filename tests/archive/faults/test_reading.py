"""A bit flips at the destination: row 24. Restores, row 26, are in tests/test_agent_restore.py."""

import pytest

from apsdm_bluesky.archive import ReadingState, State, drill_report, request_drill
from tests.waiting import wait_for

from .world import PATIENCE_S, READ, SENT


def drill(world) -> str:
    """Have the agent read all bundles again; returns the job's id when it has ended."""
    with world.ledger() as ledger:
        job = request_drill(ledger, 2, actor="a person")
        ended = {ReadingState.CHECKED, ReadingState.FAILED}
        wait_for(
            lambda: {one.state for one in ledger.readings.job(job)} <= ended, PATIENCE_S, "the end of a drill"
        )
    return job


@pytest.mark.fault(24)
def test_a_drill_finds_the_bit_that_flipped_on_tape(world):
    """Only reading shows it. The bundle is verified no more, and sent again when a person has looked."""
    world.globus.configure(stored_checksum=False)
    world.take()
    world.take("other")
    world.start()
    record = world.until(State.VERIFIED)
    world.until(State.VERIFIED, "other")
    world.globus.flip_bit(world.tape_path(record))
    job = drill(world)
    with world.ledger() as ledger:
        report = drill_report(ledger, job)
        assert (report.checked, report.bad) == (2, 1)
    parked = world.until(State.PARKED)
    assert (parked.needs_person, parked.evidence) == (True, None)
    assert parked.sha256[:12] in parked.reason
    assert world.until(State.VERIFIED, "other")
    world.tape(record.destination).rename(world.tape("flipped"))
    world.resume()
    world.until(State.VERIFIED)
    told = world.told_tasks()
    assert (told.count(SENT), set(told)) == (3, {SENT, READ})
    world.check(*told, beside=("flipped",))
