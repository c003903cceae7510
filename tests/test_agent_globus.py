"""The real agent process with Globus as its destination."""

from dataclasses import asdict

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import Ledger
from tests.archive.samples import SampleBeamline
from tests.globus import config_of
from tests.waiting import wait_for


@pytest.fixture
def sample(globus, tmp_path):
    beamline = SampleBeamline(tmp_path / "home", globus=config_of(globus, tmp_path))
    yield beamline
    beamline.session.close()


def record_of(sample, uid):
    ledger = Ledger(sample.folders.archive)
    try:
        record = ledger.get(uid)
    finally:
        ledger.close()
    return {"state": "unknown"} if record is None else asdict(record)


def wait_for_state(sample, uid, state):
    wait_for(lambda: record_of(sample, uid)["state"] == state, 60, f"run {uid} {state}")


def test_a_run_goes_to_the_collection_and_is_read_back(globus, sample, tmp_path):
    sample.take("raw")
    with agent_process(sample.config):
        wait_for_state(sample, "raw", "VERIFIED")
    record = record_of(sample, "raw")
    assert record["collection"] == "globus"
    assert record["evidence"] == "restored-sha256"
    assert record["residency"] == "unknown"
    assert record["task_id"] in [task["task_id"] for task in globus.tasks()]
    tape = globus.root("tape") / tmp_path.name
    assert sorted(path.name for path in tape.rglob("*.*")) == ["raw.manifest.json", "raw.tar"]


def test_the_collections_own_md5_is_evidence_where_that_is_enough(globus, tmp_path):
    globus.configure(staging_s=None)  # nothing comes back from tape
    sample = SampleBeamline(tmp_path / "home", globus=config_of(globus, tmp_path), verify="destination-md5")
    before = len(globus.tasks())
    sample.take("raw")
    with agent_process(sample.config):
        wait_for_state(sample, "raw", "VERIFIED")
    assert record_of(sample, "raw")["evidence"] == "destination-md5"
    (task,) = globus.tasks()[before:]
    assert record_of(sample, "raw")["task_id"] == task["task_id"]
    sample.session.close()


def test_killed_while_it_is_sent_there_is_one_task(globus, sample):
    globus.configure(hold_at_bytes=1)
    before = len(globus.tasks())
    sample.take("raw")
    with agent_process(sample.config) as process:
        wait_for_state(sample, "raw", "SUBMITTED")
        process.kill()
    globus.kill()
    globus.start()
    globus.configure(hold_at_bytes=None)
    with agent_process(sample.config):
        wait_for_state(sample, "raw", "VERIFIED")
    assert len(globus.tasks()) - before == 2  # there, and back


def test_what_needs_a_person_parks_with_the_instruction(globus, sample):
    globus.require_session("tape", ["alcf.anl.gov"])
    sample.take("raw")
    with agent_process(sample.config):
        wait_for_state(sample, "raw", "PARKED")
    record = record_of(sample, "raw")
    assert record["needs_person"]
    assert "an identity of alcf.anl.gov" in record["reason"]


def test_while_globus_is_down_a_run_waits(globus, sample):
    globus.kill()
    try:
        sample.take("raw")
        with agent_process(sample.config):
            wait_for(lambda: "tried again at" in record_of(sample, "raw").get("reason", ""), 60, "the reason")
    finally:
        globus.start()
    with agent_process(sample.config):
        wait_for_state(sample, "raw", "VERIFIED")
