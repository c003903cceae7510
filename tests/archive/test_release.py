"""Release, step by step, against a real spool, ledger and local folder that something happens to."""

import os
import time

import pytest
import sqlalchemy as sa

from apsdm_bluesky.archive import (
    ExpiryWatch,
    LocalCopy,
    ManifestFiles,
    ReleaseAsked,
    Releases,
    State,
    read_tombstone,
)
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.archive._local_copy import LocalRestored, RestoreAsked
from apsdm_bluesky.archive._steps import ArchivePlaces
from apsdm_bluesky.archive._tables import records
from apsdm_bluesky.archive._tombstone import tombstone_path
from apsdm_bluesky.cli._doctor import _expiry
from tests.archive.samples import SampleBeamline
from tests.archive.test_archiver import Driver
from tests.waiting import wait_for


class Releasing(Driver):
    """A driver that releases, too."""

    def __init__(self, sample: SampleBeamline, **kwargs) -> None:
        super().__init__(sample, **kwargs)
        folders = sample.folders
        places = ArchivePlaces(folder=folders.archive, roots=[folders.raw], prefix="x", target=10**11)
        self.manifests = ManifestFiles(places.bundles, {"local": self.transfer})
        self.releases = Releases(
            self.ledger,
            self.requests,
            self.manifests,
            places,
            sample.config.archive,
            should_stop=lambda: self.stopping,
            actor="test",
        )

    def ask(self, uid: str) -> None:
        self.ledger.runs.apply(uid, ReleaseAsked(rule="a test"), actor="test")

    def release(self, uid: str) -> None:
        self.until(uid, State.VERIFIED)
        self.ask(uid)
        self.releases.bring_on()

    def local(self, uid: str):
        entry = self.ledger.runs.get(uid)
        return entry.local, entry.local_reason


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    yield beamline
    beamline.session.close()


@pytest.fixture
def driver(sample):
    made = Releasing(sample)
    yield made
    made.close()


def content(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(driver, uid: str, sample, before, *words: str) -> None:
    local, reason = driver.local(uid)
    assert local is LocalCopy.HELD
    for word in words:
        assert word in reason
    assert content(sample.folders.raw) == before


def test_verified_run_is_released_and_a_tombstone_tells_where_it_is(sample, driver):
    frames = sample.take("raw")
    spool = content(sample.folders.spool)
    total = sum(len(data) for data in content(frames).values())
    driver.release("raw")
    entry = driver.ledger.runs.get("raw")
    assert (entry.local, entry.state) == (LocalCopy.RELEASED, State.RELEASED)
    assert not frames.exists()
    told = read_tombstone(tombstone_path(frames))
    assert (told.run, told.bundles, told.files, told.bytes) == ("raw", ("raw",), 4, total)
    assert 0 <= told.restore_s < 60
    assert time.time() - told.released < 60
    assert content(sample.folders.spool) == spool
    last = driver.ledger.history("raw")[-1]
    assert (last.event, last.evidence) == ("LocalRemoved", {"files": 4, "bytes": total})
    assert {path.name for path in content(frames.parent)} == {"zarr.json", "image.released.json"}


def test_nothing_is_released_unasked(sample, driver):
    sample.take("raw")
    before = content(sample.folders.raw)
    driver.until("raw", State.VERIFIED)
    assert driver.releases.bring_on() is False
    assert content(sample.folders.raw) == before


def test_a_touched_file_of_the_same_content_may_go(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    os.utime(frames / "zarr.json")
    driver.release("raw")
    assert not frames.exists()


def _modify(frames):
    chunk = frames / "c/0/0/0"
    data = chunk.read_bytes()
    chunk.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return chunk


def _cut(frames):
    chunk = frames / "c/1/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    return chunk


def _add(frames):
    extra = frames / "c/notes.txt"
    extra.write_text("measured by hand")
    return extra


def _lose(frames):
    chunk = frames / "c/2/0/0"
    chunk.unlink()
    return chunk


def _link(frames):
    link = frames / "c/link"
    link.symlink_to("/etc/hostname")
    return link


@pytest.mark.parametrize("harm", [_modify, _cut, _add, _lose, _link])
def test_a_file_that_is_not_what_was_archived_refuses_the_release(sample, driver, harm):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    harmed = harm(frames)
    before = content(sample.folders.raw)
    driver.ask("raw")
    driver.releases.bring_on()
    assert_refused(driver, "raw", sample, before, str(harmed))


def test_a_run_that_is_not_verified_any_more_is_not_released(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.ask("raw")
    driver.ledger.apply("raw", events.ReadAgain(found_sha256="f" * 64), actor="a drill")
    before = content(sample.folders.raw)
    driver.releases.bring_on()
    assert_refused(driver, "raw", sample, before, "not verified: bundle raw is PARKED")


def test_a_run_that_was_pinned_meanwhile_is_not_released(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.ask("raw")
    driver.ledger.runs.pin("raw", 4e9)
    before = content(sample.folders.raw)
    driver.releases.bring_on()
    assert_refused(driver, "raw", sample, before, "pinned until 2096-10-02")


def test_a_run_with_an_analysis_under_way_is_not_released(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    sample.start("analysis", raw_uid="raw")
    before = content(sample.folders.raw)
    driver.release("raw")
    assert_refused(driver, "raw", sample, before, "analysis analysis of it is not archived")


def test_files_of_another_run_that_is_held_stay(sample, driver):
    frames = sample.take("raw")
    sample.start("other")
    sample.refer("other", f"file://localhost{frames}", rows=10)
    sample.stop("other")
    driver.until("raw", State.VERIFIED)
    driver.until("other", State.VERIFIED)
    before = content(sample.folders.raw)
    driver.release("raw")
    assert_refused(driver, "raw", sample, before, "run other has the same files")
    driver.ask("raw")
    driver.ask("other")
    driver.releases.bring_on()
    assert {driver.local(uid)[0] for uid in ("raw", "other")} == {LocalCopy.RELEASED}
    assert not frames.exists()


def test_files_of_another_run_that_is_not_archived_stay_and_the_rest_goes(sample, driver):
    mine, shared = sample.write_frames("mine"), sample.write_frames("shared")
    sample.start("raw")
    sample.refer("raw", f"file://localhost{mine}", rows=10)
    sample.refer("raw", f"file://localhost{shared}", rows=10)
    sample.stop("raw")
    sample.start("open")
    sample.refer("open", f"file://localhost{shared.parent}")
    kept = content(shared)
    driver.release("raw")
    assert driver.local("raw")[0] is LocalCopy.RELEASED
    assert not mine.exists()
    assert content(shared) == kept
    assert not tombstone_path(shared).exists()


def test_a_lost_manifest_is_fetched_and_another_one_holds_up(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    manifest = sample.folders.archive / "bundles/raw.manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b"raw.zarr", b"war.zarr"))
    driver.release("raw")
    local, reason = driver.local("raw")
    assert (local, "raw.manifest.json: is not the manifest" in reason) == (LocalCopy.RELEASING, True)
    assert frames.exists()
    manifest.unlink()
    wait_for(lambda: driver.releases.bring_on() and not frames.exists(), message="the release")
    assert manifest.read_bytes() == whole


def test_trouble_on_the_way_is_told_and_goes_on_by_itself(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    tombstone_path(frames).mkdir()  # somebody's
    before = content(sample.folders.raw)
    driver.ask("raw")
    driver.releases.bring_on()
    local, reason = driver.local("raw")
    assert (local, "image.released.json" in reason) == (LocalCopy.RELEASING, True)
    assert content(sample.folders.raw) == before
    lines = len(driver.ledger.history("raw"))
    wait_for(lambda: driver.releases._backoff.over("raw"), message="another try")
    assert driver.releases.bring_on() is False
    assert len(driver.ledger.history("raw")) == lines, "to find the same trouble again is no news"
    tombstone_path(frames).rmdir()
    wait_for(driver.releases.bring_on, message="the release")
    assert driver.local("raw")[0] is LocalCopy.RELEASED
    assert not frames.exists()


def test_a_file_that_comes_back_wrong_during_the_removal_holds_it_up(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    kept = {path: path.read_bytes() for path in (frames / "c").rglob("*") if path.is_file()}
    driver.release("raw")
    driver.ledger.runs.apply("raw", RestoreAsked(job="x"), actor="test")
    driver.ledger.runs.apply("raw", LocalRestored(), actor="test")
    driver.ask("raw")  # as an agent would find it that was killed: tombstone, and some files
    chunk = next(iter(kept))
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"wrong")
    driver.releases.bring_on()
    local, reason = driver.local("raw")
    assert (local, str(chunk) in reason) == (LocalCopy.RELEASING, True)
    chunk.write_bytes(kept[chunk])
    wait_for(driver.releases.bring_on, message="the release")
    assert driver.local("raw")[0] is LocalCopy.RELEASED
    assert not frames.exists()


def test_the_log_tells_once_a_day_of_a_retention_that_ends(sample, driver, caplog):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    watch = ExpiryWatch(driver.ledger, sample.config.archive)
    watch.look()
    assert caplog.messages == []
    with driver.ledger.database.begin() as connection:
        connection.execute(sa.update(records).values(created=time.time() - 700 * 86400))
    watch.look()
    assert caplog.messages == [], "not before a day has passed"
    again = ExpiryWatch(driver.ledger, sample.config.archive)
    again.look()
    again.look()
    (told,) = caplog.messages
    assert "the tape's retention of 1 bundles ends soon, first on 20" in told
    (found,) = _expiry(sample.config)
    assert (found.level, found.found) == ("note", "that of 1 bundles ends soon, first of raw")
