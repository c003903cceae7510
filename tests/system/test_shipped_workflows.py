"""The workflows that come with the package, by the agent's jobs thread, on a run of a simulated detector."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile

from apsdm_bluesky.agent import add_shipped
from apsdm_bluesky.cli import app
from apsdm_bluesky.errors import FormatError, ReductionError, StorageError
from apsdm_bluesky.formats import open_frames, read_qmap, write_qmap
from apsdm_bluesky.workflows import check, shipped_workflows
from tests.shipped import FRAMES, g2_of, perform

STUB = Path(__file__).parents[1] / "boost_corr_stub.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def jobs(job_store, shipped_run, folder):
    uid, analysis = shipped_run
    stub = folder / "boost_corr"
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    stub.chmod(0o755)
    write_qmap(folder / "qmap.hdf", analysis.result.qmap)
    asked = {
        "xpcs-reanalysis": {"uid": uid, "rings": 3, "center": "31.5,23.5"},
        "export-nexus": {"uid": uid[:8], "folder": str(folder)},
        "boost-corr": {"uid": uid, "executable": str(stub), "qmap": str(folder / "qmap.hdf")},
    }
    return perform(job_store, asked)


def test_no_fault_is_found_in_them():
    found = {workflow.name: check(workflow) for workflow in shipped_workflows()}
    assert found == {"boost-corr": [], "export-nexus": [], "xpcs-reanalysis": []}
    assert {workflow.owner for workflow in shipped_workflows()} == {"apsdm"}


def test_they_are_kept_once(job_store):
    add_shipped(job_store)
    assert [each.version for each in job_store.definitions.list() if each.owner == "apsdm"] == [1, 1, 1]


def test_a_run_is_reduced_otherwise_and_job_and_result_name_each_other(
    jobs, job_store, shipped_run, tiled_server
):
    job = jobs["xpcs-reanalysis"]
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        told = g2_of(result)
    assert (start["raw_uid"], start["job"]) == (shipped_run[0], job.id)
    assert len(told["q"]) == 3
    file = Path(job.variables["file"])
    assert file.parent == job_store.folder(job.id) / "export"
    with h5py.File(file) as content:
        assert content["entry/entry_identifier_uuid"][()].decode() == shipped_run[0]
        np.testing.assert_array_equal(content["entry/data/g2"], told["g2"])
    np.testing.assert_array_equal(XpcsFile(str(file)).g2, told["g2"])


def test_the_result_of_a_run_is_exported_where_one_wants_it(jobs, shipped_run, folder):
    file = Path(jobs["export-nexus"].variables["file"])
    assert file == folder / f"{shipped_run[0][:8]}_results.hdf"
    with h5py.File(file) as content:
        assert content["entry/definition"][()] == b"NXxpcs"
        assert content["entry/entry_identifier_uuid"][()].decode() == shipped_run[0]


def test_boost_corr_reduces_the_same_frames_in_the_same_bins(jobs, shipped_run, tiled_server):
    job = jobs["boost-corr"]
    assert not Path(job.variables["raw_file"]).exists()  # a copy of what is in the catalogue
    assert Path(job.variables["file"]).is_file()
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        start = result.metadata["start"]
        theirs, ours = g2_of(result), g2_of(client["processed"][shipped_run[1].uid])
    assert start["producer"] == "boost_corr 0.0.1"
    assert (start["raw_uid"], start["job"]) == (shipped_run[0], job.id)
    assert start["file"] == job.variables["file"]
    assert start["configuration"]["type"] == "Multitau"
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, rtol=1e-6, err_msg=key)


@pytest.fixture
def apsdm(shipped_config, capsys, monkeypatch):
    """A command of ours in this process, with what it prints as JSON."""
    monkeypatch.setattr("apsdm_bluesky.cli._reduce.log_to_file", lambda _folders: None)

    def run(*arguments):
        app([*map(str, arguments), "--json", "--home", str(shipped_config.home)], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


def test_beside_a_foreign_result_a_run_is_reduced_as_it_was(jobs, shipped_run, apsdm):
    report = apsdm("reduce", shipped_run[0], "--no-publish")
    assert report["result_sha256"] == shipped_run[1].result.sha256
    assert report["equal_results"] == [shipped_run[1].uid]


def test_frames_are_exported_with_the_bins_and_mask_of_the_result(jobs, shipped_run, apsdm, tmp_path):
    told = apsdm("export-frames", shipped_run[0], "--to", tmp_path)
    (images,) = [batch.frames for batch in open_frames(Path(told["raw"])).batches(FRAMES)]
    qmap, result = read_qmap(Path(told["qmap"])), shipped_run[1].result
    np.testing.assert_array_equal(images.sum(axis=0, dtype=np.int64), result.saxs.sum_image)
    assert len(qmap.q) in {3, len(result.qmap.q)}  # the latest result's
    with pytest.raises(StorageError, match="exists already; choose another folder"):
        apsdm("export-frames", shipped_run[0], "--to", tmp_path)


def test_an_export_never_replaces_another_file(shipped_run, apsdm, tmp_path):
    target = tmp_path / "results.hdf"
    told = apsdm("export", shipped_run[1].uid, "--out", target)
    assert told == {"raw_uid": shipped_run[0], "result_uid": shipped_run[1].uid, "file": str(target)}
    assert apsdm("export", shipped_run[1].uid, "--out", target) == told  # the same again
    target.write_bytes(b"somebody's")
    with pytest.raises(StorageError, match="exists already"):
        apsdm("export", shipped_run[1].uid, "--out", target)
    assert target.read_bytes() == b"somebody's"


@pytest.mark.parametrize("command", ["export", "export-frames"])
def test_a_run_that_is_not_there_is_told(command, shipped_run, apsdm):
    with pytest.raises(ReductionError, match="run 00000000: the catalogue has no such raw run"):
        apsdm(command, "00000000")


def test_a_file_that_is_no_result_is_not_catalogued(jobs, shipped_run, folder, apsdm, tmp_path):
    with pytest.raises(FormatError, match="has neither /xpcs/multitau nor /xpcs/twotime"):
        apsdm("import-result", folder / "qmap.hdf", "--producer", "nobody 1", "--run", shipped_run[0])
