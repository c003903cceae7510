"""The workflows that come with the package, by the agent's jobs thread, on a run of a simulated detector."""

import stat
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, SimulationConfig
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import open_session
from apsdm_bluesky.workflows import check, shipped_workflows
from apsdm_bluesky.workflows.jobs import ENDED, JobStore, State
from tests.waiting import wait_for

FRAMES = 40
STUB = Path(__file__).parents[1] / "boost_corr_stub.py"


@pytest.fixture(scope="module")
def config(tiled_server):
    return BeamlineConfig(
        home=tiled_server.config.home,
        server={"port": 0},
        detectors={"sim_det": DetectorConfig(prefix="ship:")},
        simulation=SimulationConfig(shape=(48, 64), seed=9, mean_counts=0.5, beam_stop_radius=0),
    )


@pytest.fixture(scope="module")
def run(config):
    """The uids of a raw run and of its live result."""
    with open_session(config) as session:
        device = session.devices["sim_det"]
        (uid,) = session.RE(xpcs_series(device, FRAMES, acquire_period=0.002, acquire_time=0.002))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(240)
        assert session.wait_delivered(60)
    return uid, analysis.uid


@pytest.fixture(scope="module")
def store(config):
    with jobs_thread(config, actor="test"):
        store = JobStore(config.folders.jobs)
        yield store
        store.close()


@pytest.fixture
def perform(store):
    """Runs a workflow to its end; the job, and a text with all that its processes said."""

    def perform(name, **arguments):
        job = store.submit(store.definitions.get(name), arguments, owner="ann")
        wait_for(lambda: store.get(job.id).state in ENDED, 240, f"the end of {name}")
        said = "\n".join(
            f"{attempt.stdout}{attempt.stderr}"
            for stage in range(len(job.stages))
            for attempt in store.attempts(job.id, stage)
        )
        return store.get(job.id), said

    return perform


def done(result):
    job, said = result
    assert job.state is State.DONE, f"{job.reason}\n{said}"
    return job


def g2_of(run):
    return {key: run["primary"][key].read()[0] for key in ("q", "delays", "g2", "g2_err")}


def test_no_fault_is_found_in_them():
    found = {workflow.name: check(workflow) for workflow in shipped_workflows()}
    assert found == {"boost-corr": [], "export-nexus": [], "xpcs-reanalysis": []}
    assert {workflow.owner for workflow in shipped_workflows()} == {"apsdm"}


def test_they_are_kept_once(store, config):
    assert [each.version for each in store.definitions.list() if each.owner == "apsdm"] == [1, 1, 1]


def test_a_run_is_reduced_again_and_job_and_result_name_each_other(perform, run, tiled_server):
    job = done(perform("xpcs-reanalysis", uid=run[0], rings=3, center="31.5,23.5"))
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        assert (start["raw_uid"], start["job"]) == (run[0], job.id)
        told = g2_of(result)
        then = client["processed"][run[1]]["primary"]["q"].read()[0]
    assert len(told["q"]) == 3 != len(then)
    file = Path(job.variables["file"])
    assert file.parent.name == "export"
    with h5py.File(file) as content:
        assert content["entry/entry_identifier_uuid"][()].decode() == run[0]
        np.testing.assert_array_equal(content["entry/data/g2"], told["g2"])
    np.testing.assert_array_equal(XpcsFile(str(file)).g2, told["g2"])


def test_the_latest_result_of_a_run_is_exported_where_one_wants_it(perform, run, tiled_server, tmp_path):
    job = done(perform("export-nexus", uid=run[1], folder=str(tmp_path)))
    assert Path(job.variables["file"]) == tmp_path / f"{run[1][:8]}_results.hdf"
    with tiled_server.client() as client:
        np.testing.assert_array_equal(
            XpcsFile(job.variables["file"]).g2, g2_of(client["processed"][run[1]])["g2"]
        )
    again = done(perform("export-nexus", uid=run[0][:8]))
    assert Path(again.variables["file"]).is_file()


def test_what_is_wrong_is_told_in_a_line(perform):
    job, _ = perform("export-nexus", uid="00000000")
    assert job.state is State.FAILED
    assert "run 00000000: the catalogue has no such raw run" in job.reason


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "boost_corr"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_boost_corr_reduces_the_same_frames_in_the_same_bins(perform, run, stub, tiled_server):
    job = done(perform("boost-corr", uid=run[0], executable=str(stub)))
    assert not Path(job.variables["raw_file"]).exists()  # a copy of what is in the catalogue
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        assert start["producer"] == "boost_corr 0.0.1"
        assert (start["raw_uid"], start["job"], start["file"]) == (run[0], job.id, job.variables["file"])
        assert start["configuration"]["type"] == "Multitau"
        theirs, ours = g2_of(result), g2_of(client["processed"][run[1]])
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, rtol=1e-6, err_msg=key)
    assert Path(job.variables["file"]).is_file()


def test_a_run_with_a_foreign_result_is_reduced_as_before(perform, run, stub, tiled_server):
    done(perform("boost-corr", uid=run[0], executable=str(stub)))
    job = done(perform("xpcs-reanalysis", uid=run[0]))
    with tiled_server.client() as client:
        first = client["processed"][run[1]]["primary"]["result_sha256"].read()[0]
    assert job.variables["result_sha256"] == first
