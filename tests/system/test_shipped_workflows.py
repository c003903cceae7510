"""The workflows that come with the package, by the agent's jobs thread, on a run of a simulated detector."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile

from apsdm_bluesky.agent import add_shipped, jobs_thread
from apsdm_bluesky.cli import app
from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, SimulationConfig
from apsdm_bluesky.errors import FormatError, ReductionError, StorageError
from apsdm_bluesky.formats import open_frames, read_qmap, write_qmap
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
    """A raw run's uid, and its live analysis."""
    with open_session(config) as session:
        device = session.devices["sim_det"]
        (uid,) = session.RE(xpcs_series(device, FRAMES, acquire_period=0.002, acquire_time=0.002))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(240)
        assert session.wait_delivered(60)
    return uid, analysis


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def store(config):
    with jobs_thread(config, actor="test"):
        store = JobStore(config.folders.jobs)
        yield store
        store.close()


@pytest.fixture(scope="module")
def jobs(store, run, folder):
    """One job of each workflow, done: all at once, as each process first imports for seconds."""
    uid, analysis = run
    stub = folder / "boost_corr"
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    stub.chmod(0o755)
    write_qmap(folder / "qmap.hdf", analysis.result.qmap)
    asked = {
        "xpcs-reanalysis": {"uid": uid, "rings": 3, "center": "31.5,23.5"},
        "export-nexus": {"uid": uid[:8], "folder": str(folder)},
        "boost-corr": {"uid": uid, "executable": str(stub), "qmap": str(folder / "qmap.hdf")},
    }
    started = {
        name: store.submit(store.definitions.get(name), arguments, owner="ann").id
        for name, arguments in asked.items()
    }
    wait_for(lambda: all(store.get(job).state in ENDED for job in started.values()), 280, "their end")
    return {name: done(store, job) for name, job in started.items()}


def done(store, uid):
    job = store.get(uid)
    said = [(each.stdout, each.stderr) for each in store.attempts(uid, job.stage)]
    assert job.state is State.DONE, (job.reason, said)
    return job


def g2_of(run):
    return {key: run["primary"][key].read()[0] for key in ("q", "delays", "g2", "g2_err")}


def test_no_fault_is_found_in_them():
    found = {workflow.name: check(workflow) for workflow in shipped_workflows()}
    assert found == {"boost-corr": [], "export-nexus": [], "xpcs-reanalysis": []}
    assert {workflow.owner for workflow in shipped_workflows()} == {"apsdm"}


def test_they_are_kept_once(store):
    add_shipped(store)
    assert [each.version for each in store.definitions.list() if each.owner == "apsdm"] == [1, 1, 1]


def test_a_run_is_reduced_otherwise_and_job_and_result_name_each_other(jobs, store, run, tiled_server):
    job = jobs["xpcs-reanalysis"]
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        told = g2_of(result)
    assert (start["raw_uid"], start["job"]) == (run[0], job.id)
    assert len(told["q"]) == 3
    file = Path(job.variables["file"])
    assert file.parent == store.folder(job.id) / "export"
    with h5py.File(file) as content:
        assert content["entry/entry_identifier_uuid"][()].decode() == run[0]
        np.testing.assert_array_equal(content["entry/data/g2"], told["g2"])
    np.testing.assert_array_equal(XpcsFile(str(file)).g2, told["g2"])


def test_the_result_of_a_run_is_exported_where_one_wants_it(jobs, run, folder):
    file = Path(jobs["export-nexus"].variables["file"])
    assert file == folder / f"{run[0][:8]}_results.hdf"
    with h5py.File(file) as content:
        assert content["entry/definition"][()] == b"NXxpcs"
        assert content["entry/entry_identifier_uuid"][()].decode() == run[0]


def test_boost_corr_reduces_the_same_frames_in_the_same_bins(jobs, run, tiled_server):
    job = jobs["boost-corr"]
    assert not Path(job.variables["raw_file"]).exists()  # a copy of what is in the catalogue
    assert Path(job.variables["file"]).is_file()
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        theirs, ours = g2_of(result), g2_of(client["processed"][run[1].uid])
    assert start["producer"] == "boost_corr 0.0.1"
    assert (start["raw_uid"], start["job"], start["file"]) == (run[0], job.id, job.variables["file"])
    assert start["configuration"]["type"] == "Multitau"
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, rtol=1e-6, err_msg=key)


@pytest.fixture
def apsdm(config, capsys, monkeypatch):
    """A command of ours in this process, with what it prints as JSON."""
    monkeypatch.setattr("apsdm_bluesky.cli._reduce.log_to_file", lambda _folders: None)

    def run(*arguments):
        app([*map(str, arguments), "--json", "--home", str(config.home)], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


def test_beside_a_foreign_result_a_run_is_reduced_as_it_was(jobs, run, apsdm):
    report = apsdm("reduce", run[0], "--no-publish")
    assert report["result_sha256"] == run[1].result.sha256
    assert report["equal_results"] == [run[1].uid]


def test_frames_are_exported_with_the_bins_and_mask_of_the_result(jobs, run, apsdm, tmp_path):
    told = apsdm("export-frames", run[0], "--to", tmp_path)
    (images,) = [batch.frames for batch in open_frames(Path(told["raw"])).batches(FRAMES)]
    qmap, result = read_qmap(Path(told["qmap"])), run[1].result
    np.testing.assert_array_equal(images.sum(axis=0, dtype=np.int64), result.saxs.sum_image)
    assert len(qmap.q) in {3, len(result.qmap.q)}  # the latest result's
    with pytest.raises(StorageError, match="exists already; choose another folder"):
        apsdm("export-frames", run[0], "--to", tmp_path)


def test_an_export_never_replaces_another_file(run, apsdm, tmp_path):
    target = tmp_path / "results.hdf"
    told = apsdm("export", run[1].uid, "--out", target)
    assert told == {"raw_uid": run[0], "result_uid": run[1].uid, "file": str(target)}
    assert apsdm("export", run[1].uid, "--out", target) == told  # the same again
    target.write_bytes(b"somebody's")
    with pytest.raises(StorageError, match="exists already"):
        apsdm("export", run[1].uid, "--out", target)
    assert target.read_bytes() == b"somebody's"


@pytest.mark.parametrize("command", ["export", "export-frames"])
def test_a_run_that_is_not_there_is_told(command, run, apsdm):
    with pytest.raises(ReductionError, match="run 00000000: the catalogue has no such raw run"):
        apsdm(command, "00000000")


def test_a_file_that_is_no_result_is_not_catalogued(jobs, run, folder, apsdm, tmp_path):
    with pytest.raises(FormatError, match="has neither /xpcs/multitau nor /xpcs/twotime"):
        apsdm("import-result", folder / "qmap.hdf", "--producer", "nobody 1", "--run", run[0])
