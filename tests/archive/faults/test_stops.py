"""The agent ends at any moment, documents come twice: rows 1 to 3; tests/test_agent.py has more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.archive import State
from tests.archive.samples import TIME, SampleBeamline

from .world import READ, SENT

HERE = Path(__file__).parent


@pytest.mark.fault(1)
def test_killed_at_every_call_to_globus_and_every_record(world):
    """A fork of the agent dies at its first step, the next at its second, and so on; another one goes on."""
    world.take()
    world.sample.session.close()
    order = json.dumps({"config": world.config.model_dump(mode="json"), "tape": str(world.tape())})
    script = [sys.executable, HERE / "dying_globus_agent.py", order]
    done = subprocess.run(script, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) > 15, "the agent was hardly ever killed"
    assert [outcome["killed"] for outcome in outcomes] == [True] * (len(outcomes) - 1) + [False]
    for outcome in outcomes:
        assert outcome["state"] == "VERIFIED", outcome
        assert outcome["files"] == ["raw.manifest.json", "raw.tar"], outcome
        assert outcome["left"] == [], outcome
    assert len({outcome["sha256"] for outcome in outcomes}) == 1
    assert world.told_tasks() == [SENT, READ] * len(outcomes)


@pytest.mark.fault(1)
def test_killed_whenever_a_new_state_shows(world):
    world.globus.configure(rate_bytes_s=50_000)
    world.take()
    killed: list[State] = []
    while State.VERIFIED not in killed:
        world.start()
        killed.append(world.until_other_than(killed).state)
        world.kill()
    assert {State.SUBMITTED, State.COPIED} <= set(killed)
    world.start()
    world.check(SENT, READ)


@pytest.mark.fault(2)
def test_killed_between_the_stop_document_and_the_queue(world):
    world.start()
    with world.frozen():
        world.take()
        world.kill()
    assert world.look() == {}
    world.start()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(3)
def test_documents_that_come_twice_are_one_archive(world):
    """Another session spools the same run, before it is archived and after; its stop document comes twice."""
    world.globus.configure(hold_at_bytes=1)
    world.take()
    world.start()
    world.until(State.SUBMITTED)
    replay(world)
    world.globus.configure(hold_at_bytes=None)
    world.until(State.VERIFIED)
    replay(world)
    world.take("later")
    world.until(State.VERIFIED, "later")
    world.kill()
    world.start()
    world.take("last")
    world.until(State.VERIFIED, "last")
    world.check()


def replay(world):
    again = SampleBeamline(world.folders.root, globus=world.config.archive.globus)
    again.start("raw")
    again.refer("raw", f"file://localhost{world.folders.raw / 'raw.zarr/image'}", rows=10)
    again.stop("raw")
    line = json.dumps(["stop", {"uid": "again", "run_start": "raw", "time": TIME, "exit_status": "success"}])
    with again.run("raw").path.open("a") as file:
        file.write(f"{line}\n")
    again.session.close()
