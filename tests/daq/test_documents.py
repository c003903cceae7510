"""Stored files as documents."""

import subprocess
import sys
from pathlib import Path

import event_model
import numpy as np
import pytest

from apsdm_bluesky.daq import Daq, DaqFile, FileState, run_documents
from apsdm_bluesky.daq._kinds import mimetype_of
from apsdm_bluesky.errors import DaqError
from apsdm_bluesky.spool import uri_path


@pytest.fixture
def daq(tmp_path):
    return Daq(
        id="d" * 32,
        experiment="xpcs-1",
        station="8-ID",
        source=Path("/detector"),
        root=tmp_path / "xpcs-1",
        owner="eva",
        created=1.0,
    )


def stored(path, **more):
    fields = {"size": 5, "mtime_ns": 1_500_000_000, "sha256": "ab" * 32} | more
    return DaqFile(name=path, path=path, state=FileState.STORED, **fields)


def documents_of(daq, *files):
    return run_documents(daq, files, uid="0" * 32, time=2.0, beamline="8-ID")


def test_they_are_a_valid_run_and_always_the_same(daq):
    files = [stored("a/b c%.h5"), stored("x.tif", sha256=None, version=2), stored("empty.h5", size=0)]
    documents = documents_of(daq, *files)
    assert documents == documents_of(daq, *files)
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    names = [name for name, _ in documents]
    assert names == ["start", "descriptor", *["stream_resource", "stream_datum"] * 3, "stop"]
    start, stop = documents[0][1], documents[-1][1]
    assert start == {
        "uid": "0" * 32,
        "time": 2.0,
        "plan_name": "daq",
        "experiment": "xpcs-1",
        "station": "8-ID",
        "beamline": "8-ID",
        "daq": "d" * 32,
        "owner": "eva",
        "files": True,
    }
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"files": 3})
    uids = [doc["uid"] for name, doc in documents]
    assert len(set(uids)) == len(uids)


def test_each_file_tells_what_it_is(daq):
    documents = documents_of(daq, stored("a/b #c%.h5", version=3), stored("x", sha256=None, size=0))
    (_, first), (_, datum), (_, second), (_, empty) = documents[2:-1]
    assert uri_path(first["uri"]) == daq.root / "data/a/b #c%.h5"
    assert first["uri"].endswith("/xpcs-1/data/a/b%20%23c%25.h5")
    assert first["parameters"] == {
        "name": "a/b #c%.h5",
        "version": 3,
        "size": 5,
        "sha256": "ab" * 32,
        "mtime": 1.5,
    }
    assert datum["files"] == [["xpcs-1/data/a/b #c%.h5", 5, "ab" * 32]]
    assert (datum["indices"], datum["seq_nums"]) == ({"start": 0, "stop": 1}, {"start": 1, "stop": 2})
    assert second["mimetype"] == "application/octet-stream"
    assert "files" not in empty
    assert empty["indices"] == {"start": 0, "stop": 0}


def test_files_that_stay_beside_data(daq):
    (_, resource), (_, datum) = documents_of(daq, stored("../analysis/x.dat"))[2:-1]
    assert resource["parameters"]["name"] == "analysis/x.dat"
    assert datum["files"][0][0] == "xpcs-1/analysis/x.dat"


@pytest.mark.parametrize("path", [None, "../../other/x", "/etc/passwd", ".."])
def test_what_is_not_in_the_experiment_is_refused(daq, path):
    with pytest.raises(DaqError):
        documents_of(daq, DaqFile(name="x", path=path, state=FileState.STORED, size=1, mtime_ns=0))


def test_kinds_by_name():
    kinds = {
        "a.h5": "application/x-hdf5",
        "A.HDF5": "application/x-hdf5",
        "x.y.nxs": "application/x-hdf5",
        "a.hdf": "application/x-hdf5",
        "a.tif": "image/tiff",
        "b/A.TIFF": "image/tiff",
        "a.bin": "application/x-rigaku-bin",
        "h5": "application/octet-stream",
        ".h5": "application/octet-stream",
        "a": "application/octet-stream",
        "a.h5.tmp": "application/octet-stream",
        "a.bin.000": "application/octet-stream",
    }
    assert {name: mimetype_of(name) for name in kinds} == kinds


def test_a_bin_file_is_looked_into(daq):
    folder = daq.root / "data"
    folder.mkdir(parents=True)
    words = (np.arange(50, dtype="<u8") << np.uint64(40)) | np.uint64(7 << 16) | np.uint64(1)
    (folder / "a.bin").write_bytes(words.tobytes())
    (folder / "b.bin").write_bytes(b"something else 16")
    (folder / "c.bin").write_bytes(bytes(800))
    files = [stored(name, size=400) for name in ("a.bin", "b.bin", "c.bin", "missing.bin")]
    documents = documents_of(daq, *files)
    kinds = [doc["mimetype"] for name, doc in documents if name == "stream_resource"]
    assert kinds == ["application/x-rigaku-bin", *["application/octet-stream"] * 3]


def test_what_copies_files_starts_without_the_formats():
    code = "import sys, apsdm_bluesky.daq._kinds; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "h5py", "numba", "apsdm_bluesky.formats"} & set(loaded.split())
