"""Runs of files: archived, verified, released, put back in place, and known again when the ledger is lost."""

import hashlib
import json
import shutil

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.agent._agent import archive_places
from apsdm_bluesky.archive import (
    Ledger,
    LocalCopy,
    Rebuild,
    ReleaseAsked,
    State,
    decode_manifest,
    request_restore,
)
from apsdm_bluesky.archive._extent import check_extent
from apsdm_bluesky.archive._local_files import LocalFiles
from apsdm_bluesky.archive._references import References
from apsdm_bluesky.archive._sources import places, raw_files
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.transfer import LocalFolder
from tests.archive.samples import SampleBeamline
from tests.daq.experiments import Files
from tests.waiting import wait_for

CONTENT = {
    "scan.h5": b"no HDF5 at all",
    "a b/c#d%.dat": bytes(1000),
    "a b/empty": b"",
    ".hidden/series_1.tif": b"II",
    "zarr.json": b"{}",
}


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    yield beamline
    beamline.session.close()


@pytest.fixture
def files(sample):
    return Files(sample.config)


def put(sample, files, **more):
    """A run of the files; returns its uid."""
    written = [files.write(name, content) for name, content in CONTENT.items()]
    documents = files.run(*written, **more)
    assert sample.session.put_run(documents, notes={"archive": {"collection": "local"}})
    return documents[0][1]["uid"]


def test_everything_is_bundled_with_its_hash_at_birth(sample, files):
    uid = put(sample, files)
    roots = archive_places(sample.config).roots
    assert roots == [sample.folders.raw, sample.config.experiments_root]
    found = raw_files([sample.run(uid)], roots)
    assert {file.name: file.size for file in found} == {
        f"raw/{files.name}/data/{name}": len(content) for name, content in CONTENT.items()
    }


def test_empty_files_and_whole_hdf5_files_have_no_rows_to_lack(tmp_path):
    empty, some = tmp_path / "empty", tmp_path / "some"
    empty.write_bytes(b"")
    some.write_bytes(b"no HDF5")
    check_extent(empty, [empty], "application/octet-stream", {}, 0)
    check_extent(some, [some], "application/x-hdf5", {"name": "some"}, 1)
    with pytest.raises(FormatError):
        check_extent(empty, [empty], "application/x-hdf5", {"name": "some"}, 1)
    with pytest.raises(FormatError):
        check_extent(some, [some], "application/x-hdf5", {"dataset": "x"}, 1)


class Archive:
    """What is asked of the agent's archive."""

    def __init__(self, sample) -> None:
        self.folder = sample.folders.archive

    def ask(self, work):
        ledger = Ledger(self.folder)
        try:
            return work(ledger)
        finally:
            ledger.close()

    def entry(self, uid):
        return self.ask(lambda ledger: ledger.runs.get(uid))

    def until(self, uid, state=None, local=None):
        def reached():
            entry = self.entry(uid)
            return (
                entry and (state is None or entry.state is state) and (local is None or entry.local is local)
            )

        wait_for(reached, 60, f"run {uid} {state} {local}: {self.entry(uid)}")

    def release(self, uid):
        self.ask(lambda ledger: ledger.runs.apply(uid, ReleaseAsked(rule="a test"), actor="test"))
        self.until(uid, local=LocalCopy.RELEASED)

    def restore(self, uid):
        self.ask(lambda ledger: request_restore(ledger, uid, actor="test", archive=self.folder))
        self.until(uid, local=LocalCopy.HELD)


def there(files):
    return {
        path.relative_to(files.data).as_posix(): path.read_bytes()
        for path in files.data.rglob("*")
        if path.is_file()
    }


def test_archived_released_and_put_back_in_place(sample, files):
    uid = put(sample, files)
    archive = Archive(sample)
    times = {path: path.stat().st_mtime_ns for path in files.data.rglob("*") if path.is_file()}
    with agent_process(sample.config):
        archive.until(uid, State.VERIFIED)
        (place,) = (sample.folders.archive / "bundles").glob("*.manifest.json")
        members = [
            each for each in decode_manifest(place.read_bytes()).members if each.path.startswith("raw/")
        ]
        hashes = {
            f"raw/{files.name}/data/{name}": hashlib.sha256(each).hexdigest()
            for name, each in CONTENT.items()
        }
        assert {member.path: member.birth_sha256 for member in members} == hashes
        archive.release(uid)
        left = there(files)
        assert set(left) == {f"{name}.released.json" for name in CONTENT}
        assert {json.loads(each)["run"] for each in left.values()} == {uid}
        archive.restore(uid)
    assert there(files) == CONTENT
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_file_that_was_changed_is_not_archived_as_what_it_was(sample, files):
    uid = put(sample, files)
    (files.data / "scan.h5").write_bytes(b"no HDF5 at ALL")
    archive = Archive(sample)
    with agent_process(sample.config):
        wait_for(lambda: (e := archive.entry(uid)) and "is not what was written" in e.reason, 60, "refusal")


@pytest.mark.parametrize("from_tars", [False, True])
def test_the_ledger_is_rebuilt(sample, files, from_tars):
    uid = put(sample, files)
    archive = Archive(sample)
    with agent_process(sample.config):
        archive.until(uid, State.VERIFIED)
    for path in sample.folders.archive.glob("ledger.sqlite*"):
        path.unlink()
    shutil.rmtree(sample.folders.archive / "bundles")
    if from_tars:
        for path in sample.folders.tape.rglob("*.manifest.json"):
            path.unlink()
    (files.data / "scan.h5").unlink()
    transfer = LocalFolder(sample.folders.tape)
    try:
        where = archive_places(sample.config)
        archive.ask(
            lambda ledger: Rebuild(ledger, [transfer], where, from_tars=from_tars, actor="test").run()
        )
    finally:
        transfer.close()
    entry = archive.entry(uid)
    assert (entry.local, entry.local_reason) == (
        LocalCopy.RELEASED,
        f"1 of {len(CONTENT)} raw files are not here",
    )
    with agent_process(sample.config):
        archive.until(uid, State.RELEASED)
        archive.restore(uid)
    assert there(files) == CONTENT


def test_very_many_files_of_several_runs(sample, files):
    """Where each is compared with each this takes minutes, and the test runs out of its time."""
    written = [files.write(f"{n // 100}/{n}", b"x") for n in range(4000)]
    for _ in range(3):
        sample.session.put_run(files.run(*written))
    first, *others = Spool(sample.folders.spool).runs()
    found = places(first, archive_places(sample.config).roots)
    references = References()
    assert all(len(list(references.users(others, path))) == 2 for path, _ in found)
    assert not list(references.users(others, files.data / "0/4000"))
    assert len(list(references.users(others, files.data))) == 2
    assert len(list(references.users(others, files.data / "0/1/below"))) == 2
    members = {file.name: file for file in raw_files([first], archive_places(sample.config).roots)}
    assert LocalFiles(found, members, lambda _: None).count == len(written)
