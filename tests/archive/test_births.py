"""Hashes from the birth of a file, and the fates of frames, on their way into the manifest."""

import json
from contextlib import closing

import numpy as np
import pytest

from apsdm_bluesky.archive import SourceError, State, decode_manifest
from apsdm_bluesky.formats import RawWriter
from apsdm_bluesky.model import FrameBatch
from tests.archive.samples import TIME, SampleBeamline
from tests.archive.test_archiver import Driver
from tests.archive.test_bundle import bundle, sha256

ROWS = 60
FRAMES = np.random.default_rng(1).poisson(0.5, (ROWS, 32, 32)).astype("u2")


@pytest.fixture
def beamline(tmp_path):
    sample = SampleBeamline(tmp_path / "home")
    yield sample
    sample.session.close()


def stored(beamline, layout="dense"):
    """The store of a run, written as a device does."""
    path = beamline.folders.raw / "2026/det.zarr"
    writer = RawWriter(path, frame_shape=(32, 32), dtype="u2", expected=ROWS + 5, layout=layout, period_s=0.1)
    with closing(writer):
        writer.append(FrameBatch(frames=FRAMES, indices=np.arange(ROWS), timestamps=np.arange(float(ROWS))))
    return writer


def rows(beamline, files):
    return [[str(file.path.relative_to(beamline.folders.raw)), file.size, file.sha256] for file in files]


def take(beamline, *, layout="dense", ended=True, files=None):
    """A run of those frames; one that was killed has no ledger, and its metadata are not told."""
    writer = stored(beamline, layout)
    mimetype = "application/x-zarr" + (";structure=events" if layout == "events" else "")
    beamline.start("raw")
    for name, kind in (("image", mimetype), ("frame_index", "application/x-zarr")):
        uri = f"file://localhost{writer.path}/{name}"
        beamline.emit(
            "stream_resource", uid=name, run_start="raw", uri=uri, mimetype=kind, parameters={}, data_key=name
        )
        own = [file for file in writer.block_files if file.path.is_relative_to(writer.path / name)]
        beamline.emit(
            "stream_datum",
            uid=f"{name}/0",
            stream_resource=name,
            descriptor="raw-d",
            indices={"start": 0, "stop": ROWS},
            seq_nums={"start": 1, "stop": ROWS + 1},
            files=rows(beamline, own),
        )
    if ended:
        told = rows(beamline, [file for file in writer.files if "timestamp" not in file.path.parts])
        account(beamline, "raw", det_accepted=ROWS, det_files=json.dumps(told) if files is None else files)
    beamline.stop("raw")
    return writer


def account(beamline, uid, **data):
    """The event of a run's ledger."""
    beamline.emit(
        "descriptor", uid=f"{uid}-l", run_start=uid, time=TIME, name="ledger", data_keys={}, hints={}
    )
    beamline.emit(
        "event", uid=f"{uid}-e", descriptor=f"{uid}-l", time=TIME, seq_num=1, data=data, timestamps={}
    )


@pytest.mark.parametrize("layout", ["dense", "events"])
def test_every_member_of_a_run_knows_its_hash_at_birth(beamline, layout):
    writer = take(beamline, layout=layout)
    members = {member.source: member for member in bundle(beamline, "raw").manifest.members}
    for file in writer.files:
        if "timestamp" not in file.path.parts:
            assert members[str(file.path)].birth_sha256 == file.sha256 == sha256(file.path.read_bytes())
    documents = [member for member in members.values() if member.path.startswith("documents/")]
    assert [member.birth_sha256 for member in documents] == [None]


def test_a_killed_run_knows_the_hashes_of_what_it_announced(beamline):
    writer = take(beamline, ended=False)
    births = {member.source: member.birth_sha256 for member in bundle(beamline, "raw").manifest.members}
    assert births[str(writer.path / "image/c.0.0.0")] is not None
    assert births[str(writer.path / "image/zarr.json")] is None


def test_what_a_killed_run_left_unfinished_hinders_nothing(beamline):
    writer = take(beamline, ended=False)
    (writer.path / "frame_index/.c.9.part").write_bytes(b"torn")
    assert bundle(beamline, "raw").manifest.members


@pytest.mark.parametrize("name", ["image/c.1.0.0", "frame_index/c.0", "image/zarr.json", "zarr.json"])
def test_a_file_that_changed_since_is_not_archived(beamline, name):
    path = take(beamline).path / name
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=rf"{name}: is not what was written"):
        bundle(beamline, "raw")
    assert not list((beamline.folders.archive / "bundles").iterdir())


def test_the_record_of_a_changed_file_waits_for_a_person(beamline):
    path = take(beamline).path / "image/c.1.0.0"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    driver = Driver(beamline)
    try:
        record = driver.until("raw", State.QUARANTINED)
    finally:
        driver.close()
    assert f"{path}: is not what was written" in record.reason


def test_a_file_that_is_gone_is_missed(beamline):
    (take(beamline).path / "image/c.1.0.0").unlink()
    with pytest.raises(SourceError, match=r"det\.zarr/image/c\.1\.0\.0: is missing"):
        bundle(beamline, "raw")


@pytest.mark.parametrize("files", ["{", "7", "[7]", '[["a"]]', '[["a", "b", "c"]]', '[["a", null, "c"]]'])
def test_a_malformed_list_of_files_is_told(beamline, files):
    take(beamline, files=files)
    with pytest.raises(SourceError, match="malformed list of files"):
        bundle(beamline, "raw")


def test_the_manifest_holds_the_fate_of_the_frames(beamline):
    take(beamline)
    beamline.start("analysis", raw_uid="raw")
    account(beamline, "analysis", done=ROWS - 1, dropped=1)
    beamline.stop("analysis")
    beamline.start("bare")
    beamline.stop("bare")
    made = bundle(beamline, "raw", "analysis", "bare")
    assert [run.ledger for run in made.manifest.runs] == [
        {"det_accepted": ROWS},
        {"done": ROWS - 1, "dropped": 1},
        None,
    ]
    assert decode_manifest(made.manifest_file.read_bytes()) == made.manifest


def test_a_manifest_from_before_is_read(beamline):
    take(beamline)
    old = json.loads(bundle(beamline, "raw").manifest_file.read_bytes())
    old["schema"] = 1
    del old["software"]
    for run in old["runs"]:
        del run["ledger"]
    for member in old["members"]:
        del member["birth_sha256"]
    manifest = decode_manifest(json.dumps(old).encode())
    assert manifest.runs[0].ledger is None
    assert {member.birth_sha256 for member in manifest.members} == {None}


@pytest.mark.parametrize("name", ["image/spans/c.1.0", "image/spans/zarr.json"])
def test_events_cut_short_are_refused_without_a_hash_too(beamline, name):
    path = take(beamline, layout="events", ended=False).path / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SourceError, match=r"cut short|no readable"):
        bundle(beamline, "raw")
