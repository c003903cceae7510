"""The driver, step by step, against a real spool, ledger and local folder that something happens to."""

import hashlib

import pytest

from apsdm_bluesky.archive import (
    ArchivePlaces,
    Archiver,
    Evidence,
    Ledger,
    Planner,
    Requests,
    State,
    Steps,
    decode_manifest,
)
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.transfer import LocalFolder
from tests.archive.samples import SampleBeamline
from tests.waiting import wait_for


class Driver:
    """What the agent composes, advanced by hand."""

    def __init__(
        self,
        sample: SampleBeamline,
        analysis_timeout_s: float = 600,
        target: int = 10**11,
        wait_s: float = 0,
    ) -> None:
        folders = sample.folders
        self.tape = folders.tape
        self.ledger = Ledger(folders.archive)
        self.transfer = LocalFolder(folders.tape)
        self.requests = Requests(Spool(folders.spool), self.ledger, actor="test")
        places = ArchivePlaces(
            folder=folders.archive, roots=[folders.raw], prefix="my beamline", target=target
        )
        self.planner = Planner(
            self.requests,
            self.ledger,
            roots=places.roots,
            target=target,
            wait_s=wait_s,
            analysis_timeout_s=analysis_timeout_s,
            actor="test",
        )
        steps = Steps(
            places,
            requests=self.requests,
            transfers={"local": self.transfer},
            should_stop=lambda: self.stopping,
        )
        self.stopping = False
        self.archiver = Archiver(self.ledger, steps, actor="test")

    def step(self) -> None:
        self.requests.reconcile()
        self.planner.plan()
        for record in self.ledger.list():
            self.archiver.advance(record)

    def until(self, uid: str, state: State):
        def reached() -> bool:
            record = self.ledger.get(uid)
            if record is None or record.state is not state:
                self.step()
                record = self.ledger.get(uid)
            return record is not None and record.state is state

        wait_for(reached, message=f"run {uid} {state}")
        return self.ledger.get(uid)

    def close(self) -> None:
        self.transfer.close()
        self.ledger.close()


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home")
    yield beamline
    beamline.session.close()


@pytest.fixture
def driver(sample):
    made = Driver(sample)
    yield made
    made.close()


def tape_files(driver) -> list[str]:
    files = (path.relative_to(driver.tape) for path in driver.tape.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".apsdm-transfer")


def test_run_is_verified_by_reading_back(sample, driver):
    frames = sample.take("raw")
    before = {path: path.read_bytes() for path in frames.rglob("*") if path.is_file()}
    record = driver.until("raw", State.VERIFIED)
    assert record.evidence is Evidence.RESTORED_SHA256
    assert record.residency == "on_disk"
    assert tape_files(driver) == [
        "my-beamline/2023/11/raw.manifest.json",
        "my-beamline/2023/11/raw.tar",
    ]
    tar = driver.tape / record.destination
    assert hashlib.sha256(tar.read_bytes()).hexdigest() == record.sha256
    manifest = decode_manifest((tar.parent / "raw.manifest.json").read_bytes())
    assert (manifest.sha256, manifest.path, manifest.collection) == (
        record.sha256,
        record.destination,
        "local",
    )
    assert {path: path.read_bytes() for path in frames.rglob("*") if path.is_file()} == before
    left = [path.name for path in sample.folders.archive.rglob("*") if path.suffix in (".tar", ".part")]
    assert left == []
    states = [entry.to_state for entry in driver.ledger.history("raw")]
    assert list(dict.fromkeys(states)) == [
        State.QUEUED,
        State.BUNDLED,
        State.SUBMITTED,
        State.COPIED,
        State.VERIFIED,
    ]


@pytest.mark.parametrize("state", [State.SUBMITTED, State.COPIED])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_harmed_destination_is_never_verified_and_sent_again_when_moved_away(sample, driver, state, harm):
    sample.take("raw")
    record = driver.until("raw", state)
    tar = driver.tape / record.destination
    wait_for(tar.exists, message="the copy")
    wait_for(lambda: driver.transfer.status(record.task_id).status == "SUCCEEDED")
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-1] if harm == "cut" else whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    parked = driver.until("raw", State.PARKED)
    assert parked.needs_person
    assert "raw.tar" in parked.reason
    driver.step()
    assert driver.ledger.get("raw").state is State.PARKED
    tar.unlink()
    driver.ledger.apply("raw", events.Resumed(), actor="a person")
    assert driver.until("raw", State.VERIFIED).sha256 == hashlib.sha256(tar.read_bytes()).hexdigest()


def test_lost_destination_is_sent_again(sample, driver):
    sample.take("raw")
    record = driver.until("raw", State.COPIED)
    (driver.tape / record.destination).unlink()
    again = driver.until("raw", State.VERIFIED)
    assert again.submission_id != record.submission_id
    assert again.sha256 == record.sha256


def test_other_content_at_the_destination_is_never_overwritten(sample, driver):
    sample.take("one")
    sample.take("two")
    other = driver.tape / "my-beamline/2023/11/two.tar"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"somebody's only copy")
    assert driver.until("one", State.VERIFIED)
    parked = driver.until("two", State.PARKED)
    assert parked.needs_person
    assert "never overwritten" in parked.reason
    assert other.read_bytes() == b"somebody's only copy"


def test_ledger_lost_same_bundle_is_adopted(sample, driver):
    sample.take("raw")
    first = driver.until("raw", State.VERIFIED)
    driver.close()
    (sample.folders.archive / "ledger.sqlite").unlink()
    again = Driver(sample)
    assert again.until("raw", State.VERIFIED).sha256 == first.sha256
    assert len(tape_files(again)) == 2
    again.close()


def test_lost_local_bundle_is_made_again(sample, driver):
    sample.take("raw")
    driver.until("raw", State.BUNDLED)
    (sample.folders.archive / "bundles/raw.tar").unlink()
    driver.until("raw", State.VERIFIED)
    assert "BundleLost" in [entry.event for entry in driver.ledger.history("raw")]


def test_missing_source_is_quarantined_and_stops_no_other(sample, driver):
    frames = sample.take("bad")
    (frames / "zarr.json").unlink()
    sample.take("good")
    assert driver.until("good", State.VERIFIED)
    record = driver.ledger.get("bad")
    assert record.state is State.QUARANTINED
    assert "bad.zarr" in record.reason


def test_unknown_collection_is_parked_with_what_to_do(sample, driver):
    sample.take("raw")
    sample.session.note("raw", "archive", {"collection": "mars"})
    record = driver.until("raw", State.PARKED)
    assert record.needs_person
    assert "'mars' is configured (only local); add it" in record.reason


def test_waits_for_the_live_analysis_and_takes_it_along(sample, driver):
    sample.start("analysis", raw_uid="raw")
    sample.take("raw")
    for _ in range(3):
        driver.step()
    waiting = driver.ledger.runs.get("raw")
    assert (waiting.state, "analysis" in waiting.reason) == (State.QUEUED, True)
    assert driver.ledger.get("raw") is None
    sample.stop("analysis")
    driver.until("raw", State.VERIFIED)
    manifest = decode_manifest((sample.folders.archive / "bundles/raw.manifest.json").read_bytes())
    assert [(run.uid, run.exit_status) for run in manifest.runs] == [
        ("raw", "success"),
        ("analysis", "success"),
    ]
    assert driver.ledger.get("analysis") is None
    analysis = driver.ledger.runs.get("analysis")
    assert (analysis.raw_uid, analysis.state) == ("raw", State.VERIFIED)


def test_analysis_that_never_ends_is_waited_for_only_so_long(sample):
    sample.start("analysis", raw_uid="raw")
    sample.take("raw")
    driver = Driver(sample, analysis_timeout_s=0)
    driver.until("raw", State.VERIFIED)
    manifest = decode_manifest((sample.folders.archive / "bundles/raw.manifest.json").read_bytes())
    assert [run.uid for run in manifest.runs] == ["raw"]
    assert driver.ledger.runs.get("analysis") is None
    sample.stop("analysis")
    driver.until("analysis", State.VERIFIED)
    driver.close()


def test_failed_run_is_archived_with_its_status(sample, driver):
    sample.start("raw")
    sample.stop("raw", "fail")
    driver.until("raw", State.VERIFIED)
    manifest = decode_manifest((sample.folders.archive / "bundles/raw.manifest.json").read_bytes())
    assert manifest.runs[0].exit_status == "fail"


def test_replayed_documents_are_one_archive(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    again = SampleBeamline(sample.folders.root)  # another session spools the same run
    again.start("raw")
    again.stop("raw")
    driver.step()
    restarted = Driver(sample)
    restarted.step()
    assert [record.state for record in restarted.ledger.list()] == [State.VERIFIED]
    restarted.close()
    again.session.close()


def test_damaged_spool_file_stops_no_other(sample, driver):
    sample.take("bad")
    sample.take("good")
    path = sample.run("bad").path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"damaged\n", *lines[1:]]))
    driver.until("good", State.VERIFIED)
    assert "line 1 is damaged" in driver.until("bad", State.PARKED).reason
    entries = len(driver.ledger.history("bad"))
    driver.step()
    driver.step()
    assert len(driver.ledger.history("bad")) == entries, "to find the same fault again is no news"
    path.write_bytes(b"".join(lines))
    driver.until("bad", State.VERIFIED)


def test_stop_during_bundling_leaves_the_record_queued(sample, driver):
    sample.take("raw")
    driver.stopping = True
    driver.step()
    assert driver.ledger.get("raw").state is State.QUEUED
    assert list((sample.folders.archive / "bundles").iterdir()) == []
    driver.stopping = False
    driver.until("raw", State.VERIFIED)


def test_unreadable_readback_is_read_again(sample, driver):
    """What was fetched goes away before it is hashed."""
    sample.take("raw")
    wait_for(lambda: driver.step() or _read_task(driver) is not None, message="the read task")
    task = _read_task(driver)
    wait_for(lambda: driver.transfer.status(task).status == "SUCCEEDED")
    for path in (sample.folders.archive / "readback/raw").iterdir():
        path.unlink()
    driver.until("raw", State.VERIFIED)
    assert "ReadFailed" in [entry.event for entry in driver.ledger.history("raw")]


def _read_task(driver):
    record = driver.ledger.get("raw")
    return record and record.read_task_id


def test_what_a_killed_agent_left_of_a_verified_bundle_is_removed_at_the_next_start(sample, driver):
    sample.take("done")
    driver.until("done", State.VERIFIED)
    sample.take("going")
    driver.until("going", State.BUNDLED)
    bundles, readback = (sample.folders.archive / name for name in ("bundles", "readback"))
    (bundles / "done.tar").write_bytes(b"a copy")
    (readback / "done").mkdir(parents=True)
    (readback / "done/done.tar").write_bytes(b"a copy")
    (bundles / "unknown.tar").write_bytes(b"nobody knows whose")
    driver.archiver.tidy()
    assert sorted(path.name for path in bundles.glob("*.tar")) == ["going.tar", "unknown.tar"]
    assert list(readback.iterdir()) == []


@pytest.fixture
def small_bundles(sample):
    made = Driver(sample, target=3000, wait_s=3600)
    yield made
    made.close()


def test_a_big_run_fills_several_bundles(sample, small_bundles):
    driver = small_bundles
    frames = sample.take("raw", rows=40)
    files = {path: path.read_bytes() for path in frames.parent.rglob("*") if path.is_file()}
    wait_for(lambda: driver.step() or _state(driver, "raw") is State.VERIFIED, message="all parts verified")
    bundles = driver.ledger.bundles_of("raw")
    assert len(bundles) > 2
    assert [bundle.uid for bundle in bundles] == [
        f"raw.{n}of{len(bundles)}" for n in range(1, len(bundles) + 1)
    ]
    found = {}
    for bundle in bundles:
        path = driver.tape / bundle.destination
        manifest = decode_manifest(path.with_suffix("").with_name(f"{path.stem}.manifest.json").read_bytes())
        assert (manifest.part, manifest.parts) == (bundle.part, bundle.parts)
        assert [run.uid for run in manifest.runs] == ["raw"]
        with path.open("rb") as tar:
            for member in manifest.members:
                tar.seek(member.offset)
                found[member.source] = tar.read(member.size)
    assert {str(path): data for path, data in files.items()}.items() <= found.items()
    assert len(found) == len(files) + 1, "the documents are there once"


def test_small_runs_share_a_bundle_with_their_own_experiment(sample, small_bundles):
    driver = small_bundles
    for uid, experiment in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("a4", "a")]:
        sample.start(uid, experiment=experiment, note="x" * 500)
        sample.stop(uid)
    wait_for(lambda: driver.step() or _state(driver, "a1") is State.VERIFIED, message="a full bundle")
    shared = driver.ledger.get("a1").runs
    assert set(shared) <= {"a1", "a2", "a3", "a4"}
    assert len(shared) > 1
    waiting = driver.ledger.runs.get("b1")
    assert (waiting.state, driver.ledger.bundles_of("b1")) == (State.QUEUED, [])
    assert "waits for other small runs of its experiment" in waiting.reason
    assert {driver.ledger.runs.get(uid).state for uid in shared} == {State.VERIFIED}


def test_files_that_make_other_parts_than_planned_are_told(sample, small_bundles):
    driver = small_bundles
    frames = sample.take("raw", rows=40)
    driver.stopping = True
    driver.step()
    (frames / "c" / "9" / "0").mkdir(parents=True, exist_ok=True)
    for n in range(30):
        (frames / "c" / "9" / "0" / f"{n}").write_bytes(bytes(1000))
    driver.stopping = False
    wait_for(lambda: driver.step() or _state(driver, "raw") is State.QUARANTINED, message="quarantine")
    assert "as planned; put them back as they were" in driver.ledger.runs.get("raw").reason


def _state(driver, uid):
    entry = driver.ledger.runs.get(uid)
    return entry and entry.state
