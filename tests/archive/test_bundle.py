"""Bundles: reproducible, complete, and only of what the documents name."""

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from apsdm_bluesky.archive import Contents, SourceError, decode_manifest, encode_manifest, make_bundle
from apsdm_bluesky.errors import FormatError, StorageError
from tests.archive.samples import SampleBeamline


@pytest.fixture
def beamline(tmp_path):
    sample = SampleBeamline(tmp_path / "home")
    yield sample
    sample.session.close()


def bundle(beamline, *uids, folder="bundles", progress=lambda _: None, **contents):
    return make_bundle(
        [beamline.run(uid) for uid in uids],
        folder=beamline.folders.archive / folder,
        destination=f"test/{uids[0]}.tar",
        collection="local",
        contents=Contents(roots=[beamline.folders.raw], **contents),
        progress=progress,
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_holds_documents_and_referenced_files_of_run_and_analyses(beamline):
    beamline.write_frames("another")
    frames = beamline.take("raw", proposal=1234, esaf="e1")
    beamline.start("analysis", raw_uid="raw")
    made = bundle(beamline, "raw", "analysis")
    manifest = made.manifest
    expected = {f"raw/raw.zarr/{p.relative_to(frames.parent)}" for p in frames.rglob("*") if p.is_file()}
    expected |= {"documents/raw.jsonl", "documents/analysis.jsonl", "raw/raw.zarr/zarr.json"}
    assert {member.path for member in manifest.members} == expected
    assert [(run.uid, run.exit_status) for run in manifest.runs] == [("raw", "success"), ("analysis", None)]
    assert (manifest.proposal, manifest.esaf, manifest.path) == ("1234", "e1", "test/raw.tar")
    assert made.tar.stat().st_size == manifest.size
    assert sha256(made.tar.read_bytes()) == manifest.sha256
    assert hashlib.md5(made.tar.read_bytes(), usedforsecurity=False).hexdigest() == manifest.md5
    assert sha256(made.manifest_file.read_bytes()) == made.manifest_sha256


def test_members_lie_at_their_offsets_and_tar_agrees(beamline):
    beamline.take("raw")
    made = bundle(beamline, "raw")
    data = made.tar.read_bytes()
    for member in made.manifest.members:
        content = data[member.offset : member.offset + member.size]
        assert sha256(content) == member.sha256
        assert content == Path(member.source).read_bytes()
    with tarfile.open(made.tar) as tar:
        infos = tar.getmembers()
        assert [info.name for info in infos] == [member.path for member in made.manifest.members]
        assert [info.name for info in infos] == sorted((i.name for i in infos), key=str.encode)
        owners = {(i.uid, i.gid, i.uname, i.gname) for i in infos}
        assert owners == {(0, 0, "", "")}
        assert {(i.mtime, i.mode) for i in infos} == {(0, 0o644)}
        for info, member in zip(infos, made.manifest.members, strict=True):
            assert sha256(tar.extractfile(info).read()) == member.sha256
    listed = subprocess.run(["tar", "tf", made.tar], capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == [info.name for info in infos]


def test_long_and_unicode_names_are_read_back_by_tar(beamline):
    name = "Probe-\u00b5-" + "x" * 120
    (beamline.folders.raw / name).mkdir(parents=True)
    (beamline.folders.raw / name / "data.bin").write_bytes(b"1")
    beamline.start("raw")
    beamline.refer("raw", f"file://localhost{beamline.folders.raw}/{name}", mimetype="application/x-other")
    beamline.stop("raw")
    made = bundle(beamline, "raw")
    with tarfile.open(made.tar) as tar:
        assert f"raw/{name}/data.bin" in tar.getnames()


def test_is_the_same_byte_for_byte(beamline):
    beamline.take("raw")
    first, second = (bundle(beamline, "raw", folder=folder) for folder in ("one", "two"))
    assert first.tar.read_bytes() == second.tar.read_bytes()
    assert first.manifest_file.read_bytes() == second.manifest_file.read_bytes()
    again = bundle(beamline, "raw", folder="one")  # over the one from before
    assert again.manifest == second.manifest


def test_manifest_comes_back(beamline):
    beamline.take("raw", sample=np.arange(3))
    made = bundle(beamline, "raw")
    assert decode_manifest(made.manifest_file.read_bytes()) == made.manifest
    assert encode_manifest(made.manifest) == made.manifest_file.read_bytes()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema": 1, "runs": 3}', b"\xff", b'{"schema": 99}'])
def test_bad_manifest_is_a_format_error(data):
    with pytest.raises(FormatError, match="manifest"):
        decode_manifest(data)


def test_source_changed_while_bundling_is_rebuilt(beamline):
    frames = beamline.take("raw")
    chunk = frames / "c/0/0/0"
    changes = []

    def change_once(_):
        if not changes:
            changes.append(chunk.stat().st_size)
            os.utime(chunk, ns=(1, 1))

    made = bundle(beamline, "raw", progress=change_once)
    assert changes
    member = next(m for m in made.manifest.members if m.path.endswith("c/0/0/0"))
    assert member.mtime_ns == 1
    assert member.sha256 == sha256(chunk.read_bytes())


def test_source_that_does_not_rest_is_told_and_leaves_nothing(beamline):
    frames = beamline.take("raw")
    new = iter(range(1000))

    def grow(_):
        (frames / f"extra{next(new)}").write_bytes(b"x" * 100)

    with pytest.raises(StorageError, match="changed all the time"):
        bundle(beamline, "raw", progress=grow)
    assert list((beamline.folders.archive / "bundles").iterdir()) == []


def test_interrupted_bundling_leaves_nothing(beamline):
    beamline.take("raw")

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bundle(beamline, "raw", progress=interrupt)
    assert list((beamline.folders.archive / "bundles").iterdir()) == []


def refused(beamline, match, uri=None, mimetype="application/x-other", rows=1):
    if uri is not None:
        beamline.start("raw")
        beamline.refer("raw", uri, rows=rows, mimetype=mimetype)
        beamline.stop("raw")
    with pytest.raises(SourceError, match=match):
        bundle(beamline, "raw")
    assert list((beamline.folders.archive / "bundles").iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "file://otherhost/etc/passwd",
        "http://127.0.0.1/x",
        "/etc/passwd",
        "",
        "file:///%2e%2e/etc/passwd",
        "file://localhost{raw}/../archive/ledger.sqlite",
        "file://localhost{raw}/%2e%2e/archive/x",
        "file://localhost{raw}",
        "file://localhost{raw}/",
        "file://localhost{raw}/a%00b",
        "file://localhost{raw}/a?x",
        "file://[bad",
    ],
)
def test_uri_outside_of_the_raw_folder_is_refused(beamline, uri):
    beamline.folders.raw.mkdir(parents=True)
    refused(beamline, "refused", uri.format(raw=beamline.folders.raw))


def test_link_out_of_the_raw_folder_is_refused(beamline):
    beamline.folders.raw.mkdir(parents=True)
    (beamline.folders.raw / "link").symlink_to("/etc")
    refused(beamline, "outside", f"file://localhost{beamline.folders.raw}/link/passwd")


def test_link_in_a_source_folder_is_refused(beamline):
    frames = beamline.take("raw")
    (frames / "c/passwd").symlink_to("/etc/passwd")
    refused(beamline, "is a link")


def test_pipe_in_a_source_folder_is_refused(beamline):
    frames = beamline.take("raw")
    os.mkfifo(frames / "c/pipe")
    refused(beamline, "no plain file")


def test_missing_source(beamline):
    refused(beamline, "is missing", f"file://localhost{beamline.folders.raw}/none")


def test_array_shorter_than_the_documents_say(beamline):
    frames = beamline.write_frames("raw", rows=9)
    uri = f"file://localhost{frames}"
    refused(beamline, "holds 9 rows, but the documents say 10", uri, "application/x-zarr", rows=10)


def test_chunk_cut_short(beamline):
    frames = beamline.take("raw")
    chunk = frames / "c/0/0/0"
    chunk.write_bytes(b"")
    refused(beamline, "cut short")


@pytest.mark.parametrize("compressor", ["blosc", None])
def test_compressed_and_plain_chunks_cut_by_one_byte(beamline, compressor):
    import zarr

    codec = zarr.codecs.BloscCodec() if compressor else None
    array = zarr.create_array(
        str(beamline.folders.raw / "x.zarr"), shape=(8, 8), chunks=(8, 8), dtype="u2", compressors=codec
    )
    array[:] = np.random.default_rng(1).integers(1, 9, (8, 8))
    beamline.start("raw")
    beamline.refer("raw", f"file://localhost{beamline.folders.raw}/x.zarr", rows=8)
    beamline.stop("raw")
    bundle(beamline, "raw", folder="whole")
    chunk = beamline.folders.raw / "x.zarr/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    refused(beamline, "cut short", None)


def test_hdf5_cut_short_or_too_small(beamline):
    beamline.folders.raw.mkdir(parents=True)
    path = beamline.folders.raw / "x.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(1000)
    beamline.start("raw")
    beamline.emit(
        "stream_resource",
        uid="r",
        run_start="raw",
        uri=f"file://localhost{path}",
        mimetype="application/x-hdf5",
        parameters={"dataset": "data"},
        data_key="image",
    )
    for stop in (1000, 1001):
        beamline.emit(
            "stream_datum",
            uid=f"r/{stop}",
            stream_resource="r",
            descriptor="raw-d",
            indices={"start": 0, "stop": stop},
            seq_nums={"start": 1, "stop": stop + 1},
        )
        if stop == 1000:
            bundle(beamline, "raw", folder="whole")
    refused(beamline, "holds 1000 rows, but the documents say 1001")
    os.truncate(path, 3000)
    refused(beamline, "not readable")


def test_malformed_and_old_external_documents(beamline):
    beamline.start("raw")
    beamline.emit(
        "stream_datum",
        uid="s",
        stream_resource="unknown",
        descriptor="raw-d",
        indices={"start": 0, "stop": 1},
        seq_nums={"start": 1, "stop": 2},
    )
    refused(beamline, "unknown")
    beamline.emit("resource", uid="old", run_start="raw", spec="X", root="/", resource_path="x")
    refused(beamline, "'resource' documents cannot be archived")


def test_full_disk_leaves_no_part(beamline, tmp_path):
    folder = beamline.folders.archive / "bundles"
    folder.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        beamline.take("raw", rows=400)
        with pytest.raises(StorageError, match="No space left"):
            bundle(beamline, "raw")
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", folder], check=True)


def test_manifest_is_plain_json(beamline):
    beamline.take("raw", sample=np.float32(0.5))
    text = bundle(beamline, "raw").manifest_file.read_text()
    assert json.loads(text)["runs"][0]["start"]["sample"] == 0.5
