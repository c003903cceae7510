"""Raw files that change, are missing, cut short or late: rows 7 to 9."""

import pytest

from apsdm_bluesky.archive import State, decode_manifest
from tests.waiting import wait_for

from .world import PATIENCE_S, sha256

MANY = 4000


class Harmed:
    """A run whose documents announce files that are not there as they should be.

    ``missing``: none of them. ``short``: two of ten rows are not. ``cut``: a chunk lacks its last byte, which
    its hash in the documents tells.
    """

    def __init__(self, world, harm):
        self.world = world
        self.frames = world.sample.write_frames("raw")
        self._whole = self.frames.rename(world.folder / "whole")
        if harm == "short":
            world.sample.write_frames("short", rows=8).rename(self.frames)
            (world.folders.raw / "short.zarr/zarr.json").unlink()
        elif harm == "cut":
            world.sample.write_frames("cut").rename(self.frames)
            (world.folders.raw / "cut.zarr/zarr.json").unlink()
            chunk = self.frames / "c/0/0/0"
            chunk.write_bytes(chunk.read_bytes()[:-1])

    def announce(self):
        """All documents but the stop."""
        sample, uri = self.world.sample, f"file://localhost{self.frames}"
        chunk = self._whole / "c/0/0/0"
        told = [["raw.zarr/image/c/0/0/0", chunk.stat().st_size, sha256(chunk)]]
        sample.start("raw")
        sample.refer("raw", uri, rows=5)
        sample.emit(
            "stream_datum",
            uid="raw-told",
            stream_resource=f"raw-r-{uri[-20:]}",
            descriptor="raw-d",
            indices={"start": 5, "stop": 10},
            seq_nums={"start": 6, "stop": 11},
            files=told,
        )

    def mend(self):
        """The files are there as they were written."""
        if self.frames.exists():
            self.frames.rename(self.world.folder / "harmed")
        self._whole.rename(self.frames)
        self.world.note_sources()


@pytest.mark.fault(7)
def test_a_source_that_changes_while_it_is_bundled(world):
    """The agent is stopped in the middle of many files, one of which is changed behind its back."""
    folder = world.folders.raw / "many"
    folder.mkdir(parents=True)
    for number in range(MANY):
        (folder / f"{number:05}").write_bytes(b"data")
    world.sample.start("raw")
    uri = f"file://localhost{folder}"
    world.sample.refer("raw", uri, mimetype="application/octet-stream", rows=1)
    world.start()
    world.sample.stop("raw")
    part = world.folders.archive / "bundles/raw.tar.part"
    wait_for(lambda: part.exists() and part.stat().st_size, PATIENCE_S, "the bundling")
    with world.frozen():
        assert part.stat().st_size < MANY * 1024, "the agent was stopped too late"
        (folder / "00000").write_bytes(b"changed")
        world.note_sources()
    record = world.until(State.VERIFIED)
    manifest = decode_manifest((world.folders.archive / "bundles/raw.manifest.json").read_bytes())
    (member,) = (member for member in manifest.members if member.path == "raw/many/00000")
    assert (member.sha256, manifest.sha256) == (sha256(folder / "00000"), record.sha256)
    world.check()


@pytest.mark.fault(8)
@pytest.mark.parametrize("harm", ["missing", "short", "cut"])
def test_a_source_that_is_not_what_the_documents_say_is_quarantined(make_world, harm):
    world = make_world(late_file_s=0)
    harmed = Harmed(world, harm)
    harmed.announce()
    world.sample.stop("raw")
    world.take("good")
    world.start()
    record = world.until(State.QUARANTINED)
    assert "raw.zarr/image" in record.reason
    assert world.until_run(record.reason).state is State.QUARANTINED
    world.until(State.VERIFIED, "good")
    world.kill()
    world.start()
    assert world.until(State.QUARANTINED).reason == record.reason
    harmed.mend()
    world.resume()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(9)
@pytest.mark.parametrize("harm", ["missing", "short", "cut"])
def test_a_late_file_is_waited_for(world, harm):
    harmed = Harmed(world, harm)
    harmed.announce()
    world.sample.stop("raw")
    world.start()
    waiting = world.until_run("waits for its files (at most 600 s)")
    assert waiting.state is State.QUEUED
    assert "raw.zarr/image" in waiting.reason
    harmed.mend()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(9)
def test_a_file_that_never_comes_is_waited_for_only_so_long(make_world):
    world = make_world(late_file_s=3)
    harmed = Harmed(world, "missing")
    harmed.announce()
    world.start()
    world.sample.stop("raw")
    world.until_run("waits for its files (at most 3 s)")
    assert "is missing" in world.until(State.QUARANTINED).reason
    harmed.mend()
    world.resume()
    world.until(State.VERIFIED)
    world.check()
