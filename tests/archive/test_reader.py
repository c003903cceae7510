"""Reading back, step by step, against a real spool, ledger and folder that something happens to."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apsdm_bluesky.archive import (
    LocalCopy,
    ReadingState,
    State,
    cancel_job,
    decode_manifest,
    encode_manifest,
    request_verify,
    resume_readings,
)
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.archive._local_copy import ReleaseAsked
from apsdm_bluesky.archive._publish import named_place, recorded_place
from apsdm_bluesky.errors import ApsdmError, FormatError
from apsdm_bluesky.model import BundleMember
from tests.archive.reading import ReadingDriver, contents
from tests.archive.samples import SampleBeamline
from tests.waiting import wait_for


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    yield beamline
    beamline.session.close()


@pytest.fixture
def driver(sample):
    made = ReadingDriver(sample)
    yield made
    made.close()


def local(driver, uid: str) -> LocalCopy:
    return driver.ledger.runs.get(uid).local


def stones(sample) -> list[str]:
    return [path.name for path in sample.folders.raw.rglob("*.released.json")]


def test_a_released_run_comes_back_the_same(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    times = {path.name: path.stat().st_mtime_ns for path in frames.rglob("*") if path.is_file()}
    before = driver.released("raw")
    assert driver.ledger.runs.get("raw").state is State.RELEASED
    assert stones(sample) == ["image.released.json"]
    job = driver.restore("raw")
    assert local(driver, "raw") is LocalCopy.RESTORING
    (reading,) = driver.finish(job)
    assert reading.state is ReadingState.RESTORED
    assert contents(sample.folders.raw) == before
    assert {path.name: path.stat().st_mtime_ns for path in frames.rglob("*") if path.is_file()} == times
    assert local(driver, "raw") is LocalCopy.HELD
    assert driver.ledger.runs.get("raw").state is State.VERIFIED
    assert driver.scratch() == []
    told = {entry.event: entry.evidence for entry in driver.ledger.readings.history(reading.uid)}
    assert list(told) == ["Asked", "FetchPrepared", "FetchAccepted", "Fetched", "Published"]
    assert told["Fetched"]["found_sha256"] == driver.ledger.get("raw").sha256
    assert (told["Published"]["written"], told["Published"]["adopted"]) == (len(before) - 1, 1)
    assert stones(sample) == []


def test_what_is_there_is_adopted_and_what_is_missing_comes_back(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = contents(sample.folders.raw)
    gone = next(path for path in sorted(frames.rglob("*")) if path.is_file())
    gone.unlink()
    (reading,) = driver.finish(driver.restore("raw"))
    assert reading.state is ReadingState.RESTORED
    assert contents(sample.folders.raw) == before
    published = driver.ledger.readings.history(reading.uid)[-1].evidence
    assert (published["written"], published["adopted"]) == (1, len(before) - 1)


def test_one_member_to_a_folder(sample, driver, tmp_path):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    wanted = "raw/raw.zarr/image/zarr.json"
    (reading,) = driver.finish(driver.restore("raw", members=[wanted], target=tmp_path / "there"))
    assert reading.state is ReadingState.RESTORED
    assert list(contents(tmp_path / "there")) == [wanted]
    source = sample.folders.raw / "raw.zarr/image/zarr.json"
    assert (tmp_path / "there" / wanted).read_bytes() == source.read_bytes()


def test_all_to_a_folder_with_the_documents(sample, driver, tmp_path):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.finish(driver.restore("raw", target=tmp_path / "there"))
    found = contents(tmp_path / "there")
    assert {name.removeprefix("raw/") for name in found} == {
        *contents(sample.folders.raw),
        "documents/raw.jsonl",
    }
    documents = (tmp_path / "there/documents/raw.jsonl").read_bytes()
    assert documents == sample.run("raw").path.read_bytes()
    assert local(driver, "raw") is LocalCopy.HELD


def test_members_in_a_folder_into_their_places(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    driver.finish(driver.restore("raw", members=["raw/raw.zarr/image/"]))
    assert contents(frames) == {
        name.removeprefix("raw.zarr/image/"): digest
        for name, digest in before.items()
        if name.startswith("raw.zarr/image/")
    }
    assert local(driver, "raw") is LocalCopy.RELEASED, "not all of it is back"


def test_other_content_is_never_overwritten(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    other = frames / "zarr.json"
    frames.mkdir()
    other.write_bytes(b"somebody's work")
    (reading,) = driver.finish(job := driver.restore("raw"))
    assert (reading.state, reading.needs_person) == (ReadingState.PARKED, True)
    assert str(other) in reading.reason
    assert "never overwritten" in reading.reason
    assert other.read_bytes() == b"somebody's work"
    assert len(contents(frames)) == len(before) - 1, "the others are back"
    assert stones(sample) == ["image.released.json"]
    other.unlink()
    resume_readings(driver.ledger, "raw", actor="test")
    (reading,) = driver.finish(job)
    assert reading.state is ReadingState.RESTORED
    assert contents(sample.folders.raw) == before


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "folder", "file for folder"])
def test_links_and_special_files_are_in_the_way(sample, driver, tmp_path, kind):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.released("raw")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "zarr.json").write_bytes(b"precious")
    if kind == "folder link":
        frames.symlink_to(outside)
    elif kind == "file for folder":
        frames.write_bytes(b"")
    else:
        frames.mkdir()
        place = frames / "zarr.json"
        {
            "link": lambda: place.symlink_to(outside / "zarr.json"),
            "pipe": lambda: os.mkfifo(place),
            "folder": place.mkdir,
        }[kind]()
    (reading,) = driver.finish(driver.restore("raw"))
    assert (reading.state, reading.needs_person) == (ReadingState.PARKED, True)
    assert "move it away, then resume" in reading.reason
    assert contents(outside) == {"zarr.json": hashlib.sha256(b"precious").hexdigest()}


def test_a_second_restore_is_refused_and_a_cancelled_one_is_given_up(sample, driver, tmp_path):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    frames.mkdir()
    (frames / "zarr.json").write_bytes(b"in the way")
    driver.finish(job := driver.restore("raw"))
    with pytest.raises(ApsdmError, match=f"job {job} restores it already"):
        driver.restore("raw")
    with pytest.raises(ApsdmError, match=f"job {job} restores it already"):
        driver.restore("raw", members=["raw/raw.zarr"])
    driver.finish(driver.restore("raw", target=tmp_path / "elsewhere"))
    cancel_job(driver.ledger, job, actor="me")
    driver.read()
    assert local(driver, "raw") is LocalCopy.RELEASED
    assert "cancelled by me" in driver.ledger.runs.get("raw").local_reason
    assert driver.scratch() == []
    (frames / "zarr.json").unlink()
    driver.finish(driver.restore("raw"))
    assert contents(sample.folders.raw) == before
    assert local(driver, "raw") is LocalCopy.HELD


def test_only_verified_runs_are_restored(sample, driver):
    sample.take("raw")
    with pytest.raises(ApsdmError, match="knows none"):
        driver.restore("raw")
    driver.until("raw", State.BUNDLED)
    with pytest.raises(ApsdmError, match="is BUNDLED, only a verified run is restored"):
        driver.restore("raw")
    driver.until("raw", State.VERIFIED)
    with pytest.raises(ApsdmError, match="have no such member"):
        driver.restore("raw", members=["raw/none"])
    with pytest.raises(ApsdmError, match="a folder only"):
        driver.restore("raw", members=["documents/raw.jsonl"])
    with pytest.raises(ApsdmError, match="no absolute path"):
        driver.restore("raw", target=Path("relative"))
    driver.ledger.runs.apply("raw", ReleaseAsked(rule="test"), actor="test")
    with pytest.raises(ApsdmError, match="is being released"):
        driver.restore("raw")


def tar_on_tape(driver, uid="raw") -> Path:
    return driver.tape / driver.ledger.get(uid).destination


def flip(path: Path, at: int = 700) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "manifest", "manifest gone"])
def test_a_harmed_bundle_is_verified_no_more_and_nothing_is_restored(sample, driver, harm):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.released("raw")
    tar = tar_on_tape(driver)
    manifest = tar.with_name("raw.manifest.json")
    {
        "flip": lambda: flip(tar),
        "cut": lambda: tar.write_bytes(tar.read_bytes()[:-1]),
        "gone": tar.unlink,
        "manifest": lambda: flip(manifest),
        "manifest gone": manifest.unlink,
    }[harm]()
    (reading,) = driver.finish(driver.restore("raw"))
    assert reading.state is ReadingState.FAILED
    assert contents(frames) == {}
    bundle = driver.ledger.get("raw")
    assert (bundle.state, bundle.needs_person, bundle.evidence) == (State.PARKED, True, None)
    run = driver.ledger.runs.get("raw")
    assert (run.state, run.local) == (State.PARKED, LocalCopy.RELEASED)
    assert driver.scratch() == []


def test_verify_renews_the_evidence_or_takes_it_away(sample, driver):
    sample.take("raw")
    first = driver.until("raw", State.VERIFIED)
    (reading,) = driver.finish(request_verify(driver.ledger, "raw", actor="test"))
    assert reading.state is ReadingState.CHECKED
    renewed = driver.ledger.get("raw")
    assert (renewed.state, renewed.verified > first.verified) == (State.VERIFIED, True)
    assert driver.ledger.readings.history(reading.uid)[-1].evidence["compared"] == 6
    flip(tar_on_tape(driver))
    (reading,) = driver.finish(request_verify(driver.ledger, "raw", actor="test"))
    assert reading.state is ReadingState.FAILED
    assert driver.ledger.get("raw").state is State.PARKED
    with pytest.raises(ApsdmError, match=r"is PARKED, only a verified run is verified: .*sha256"):
        request_verify(driver.ledger, "raw", actor="test")


def forge(driver, uid: str, change) -> None:
    """Somebody owns the destination and the ledger: the manifest is another one, and all digests fit."""
    record = driver.ledger.get(uid)
    path = driver.tape / record.destination.replace(".tar", ".manifest.json")
    data = encode_manifest(change(decode_manifest(path.read_bytes())))
    path.write_bytes(data)
    with driver.ledger.database.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE records SET manifest_sha256 = ?, manifest_size = ? WHERE uid = ?",
            (hashlib.sha256(data).hexdigest(), len(data), uid),
        )


def forged_member(**changes):
    def change(manifest):
        index = next(i for i, member in enumerate(manifest.members) if member.path.startswith("raw/"))
        members = list(manifest.members)
        members[index] = replace(members[index], **changes)
        return replace(manifest, members=tuple(members))

    return change


TAIL = "raw.zarr/image/c/0/0/0"
OUTSIDE = ["{home}/spool/{tail}", "{home}/rawish/{tail}", "{home}/{tail}", "/etc/{tail}", "/{tail}"]
CROOKED = [
    "{home}/raw/../spool/{tail}",
    "{home}/raw/./{tail}",
    "{home}/raw//{tail}",
    "{home}/raw",
    "relative/{tail}",
    "",
    "//{tail}",
    "{home}/raw/{tail}\0",
]


@pytest.mark.parametrize("source", [*OUTSIDE, *CROOKED])
def test_a_forged_source_writes_nowhere(sample, driver, tmp_path, source):
    """Those that a manifest cannot have are refused when it is read, the others have no place here."""
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.released("raw")
    before = contents(tmp_path / "home/raw"), contents(tmp_path / "home/spool")
    forge(driver, "raw", forged_member(source=source.format(home=sample.folders.root, tail=TAIL)))
    (reading,) = driver.finish(driver.restore("raw"))
    if source in OUTSIDE:
        assert (reading.state, reading.needs_person) == (ReadingState.PARKED, True)
        assert "not under the raw data folders" in reading.reason
    else:
        assert reading.state is ReadingState.FAILED
        assert "no bundle has" in reading.reason
    assert (contents(tmp_path / "home/raw"), contents(tmp_path / "home/spool")) == before
    assert not (sample.folders.root / "rawish").exists()


NAMES = ["../evil", "/tmp/evil", "raw/../../evil", "a//evil", "raw/./evil", "", "evil\0", "raw/evil"]


@pytest.mark.parametrize("name", NAMES)
def test_a_forged_name_writes_nowhere(sample, driver, tmp_path, name):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    forge(driver, "raw", forged_member(path=name))
    (reading,) = driver.finish(driver.restore("raw", target=tmp_path / "there"))
    assert reading.state is ReadingState.FAILED
    assert not (tmp_path / "there").exists()
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("source", [*OUTSIDE, *CROOKED])
def test_there_is_no_place_for_a_crooked_source(tmp_path, source):
    member = a_member("raw/x", source=source.format(home=tmp_path, tail=TAIL))
    with pytest.raises(FormatError, match="not under the raw data folders"):
        recorded_place(member, [tmp_path / "raw"])


@pytest.mark.parametrize("name", NAMES[:-1])
def test_there_is_no_place_for_a_crooked_name(tmp_path, name):
    if name == "evil\0":
        name = "raw/evil\0"
    with pytest.raises(FormatError, match="no plain relative path"):
        named_place(a_member(name, source="/x"), tmp_path)


def a_member(path: str, source: str) -> BundleMember:
    return BundleMember(path=path, size=0, mtime_ns=0, sha256="", offset=512, source=source)


UNFIT = [{"offset": 10**12}, {"offset": -1}, {"size": 10**12}, {"sha256": "0" * 64}]


@pytest.mark.parametrize("changes", UNFIT)
def test_a_manifest_that_does_not_fit_its_tar_is_found(sample, driver, changes):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    driver.released("raw")
    forge(driver, "raw", forged_member(**changes))
    (reading,) = driver.finish(driver.restore("raw"))
    assert reading.state is ReadingState.FAILED
    assert driver.ledger.get("raw").state is State.PARKED
    left = [path for path in sample.folders.raw.rglob("*") if path.name.endswith(".part")]
    assert left == []


def test_what_was_fetched_and_is_lost_or_harmed_is_fetched_again(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    blocker = sample.folders.raw / "raw.zarr/image"
    blocker.mkdir()
    (blocker / "zarr.json").write_bytes(b"in the way")
    (frame,) = (
        member
        for member in decode_manifest((driver.archive / "bundles/raw.manifest.json").read_bytes()).members
        if member.path.endswith("c/0/0/0")
    )
    for harm in (lambda tar: tar.unlink(), lambda tar: flip(tar, frame.offset)):
        (reading,) = driver.finish(job := driver.restore("raw"))
        harm(driver.archive / "restore" / reading.uid / "raw.tar")
        (blocker / "zarr.json").unlink()
        shutil.rmtree(blocker)
        resume_readings(driver.ledger, "raw", actor="test")
        (reading,) = driver.finish(job)
        assert reading.state is ReadingState.RESTORED
        assert "FetchLost" in [entry.event for entry in driver.ledger.readings.history(reading.uid)]
        assert contents(sample.folders.raw) == before
        assert driver.ledger.get("raw").state is State.VERIFIED, "the archive is not to blame"
        driver.released("raw")
        blocker.mkdir()
        (blocker / "zarr.json").write_bytes(b"in the way")


def test_a_lost_manifest_is_fetched_first(sample, driver, tmp_path):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    manifest = driver.archive / "bundles/raw.manifest.json"
    kept = manifest.read_bytes()
    manifest.unlink()
    wanted = "raw/raw.zarr/image/zarr.json"
    (reading,) = driver.finish(driver.restore("raw", members=[wanted], target=tmp_path / "there"))
    assert reading.state is ReadingState.RESTORED
    assert list(contents(tmp_path / "there")) == [wanted]
    assert manifest.read_bytes() == kept
    manifest.unlink()
    (reading,) = driver.finish(driver.restore("raw", members=["raw/none"], target=tmp_path / "there"))
    assert reading.state is ReadingState.CANCELLED
    assert "holds none of the members" in reading.reason
    told = [entry.event for entry in driver.ledger.readings.history(reading.uid)]
    assert told == ["Asked", "FetchPrepared", "FetchAccepted", "ManifestFetched", "Cancelled"]


def test_runs_that_share_a_bundle_come_back_one_by_one(sample):
    driver = ReadingDriver(sample, wait_s=1e-9)
    for uid in ("one", "two"):
        sample.take(uid, experiment="x")
    driver.until("one", State.VERIFIED)
    assert driver.ledger.get("one").runs == ("one", "two")
    before = contents(sample.folders.raw)
    for uid in ("one", "two"):
        driver.released(uid)
    driver.finish(driver.restore("two"))
    back = contents(sample.folders.raw / "two.zarr")
    assert {f"two.zarr/{name}": digest for name, digest in back.items()} == {
        name: digest for name, digest in before.items() if name.startswith("two.zarr")
    }
    assert contents(sample.folders.raw / "one.zarr/image") == {}
    assert [path.parent.name for path in sample.folders.raw.rglob("*.released.json")] == ["one.zarr"]
    assert (local(driver, "one"), local(driver, "two")) == (LocalCopy.RELEASED, LocalCopy.HELD)
    driver.close()


def test_a_run_in_parts_is_here_again_when_all_parts_are(sample):
    driver = ReadingDriver(sample, target=1500)
    sample.take("raw", rows=40)
    wait_for(lambda: driver.step() or len(driver.ledger.bundles_of("raw")) > 2, message="its parts")
    parts = [bundle.uid for bundle in driver.ledger.bundles_of("raw")]
    for uid in parts:
        driver.until(uid, State.VERIFIED)
    before = driver.released("raw")
    job = driver.restore("raw")
    readings = driver.ledger.readings.job(job)
    assert [one.bundle for one in readings] == parts

    def first_ended():
        driver.reader.bring_on(readings[0].uid)
        return driver.ledger.readings.get(readings[0].uid).ended

    wait_for(first_ended)
    assert local(driver, "raw") is LocalCopy.RESTORING
    assert not [name for name in driver.scratch() if name.endswith(".tar")], "the tar goes first"
    driver.finish(job)
    assert contents(sample.folders.raw) == before
    assert local(driver, "raw") is LocalCopy.HELD
    assert driver.scratch() == []
    driver.close()


def test_a_member_of_a_run_in_parts_needs_one_bundle(sample, tmp_path):
    driver = ReadingDriver(sample, target=1500)
    sample.take("raw", rows=40)
    wait_for(lambda: driver.step() or len(driver.ledger.bundles_of("raw")) > 2, message="its parts")
    for bundle in driver.ledger.bundles_of("raw"):
        driver.until(bundle.uid, State.VERIFIED)
    readings = driver.finish(
        driver.restore("raw", members=["raw/raw.zarr/image/zarr.json"], target=tmp_path / "there")
    )
    assert len(readings) == 1
    assert len(contents(tmp_path / "there")) == 1
    driver.close()


def test_a_restore_waits_for_a_bundle_that_is_not_verified_now(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    job = driver.restore("raw")
    driver.ledger.apply("raw", events.ReadAgain(found_sha256="wrong"), actor="test")
    driver.read()
    (reading,) = driver.ledger.readings.job(job)
    assert reading.state is ReadingState.WAITING
    assert reading.reason.startswith("bundle raw is PARKED now, it is restored when that is verified")
    driver.ledger.apply("raw", events.Resumed(), actor="test")
    driver.until("raw", State.VERIFIED)
    (reading,) = driver.finish(job)
    assert reading.state is ReadingState.RESTORED
    assert contents(sample.folders.raw) == before


def test_stop_in_mid_work_leaves_the_reading_where_it_is(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = driver.released("raw")
    job = driver.restore("raw")
    driver.stopping = True
    wait_for(
        lambda: driver.read() or driver.ledger.readings.job(job)[0].state is ReadingState.STAGING,
        message="staging",
    )
    task = driver.ledger.readings.job(job)[0].task_id
    wait_for(lambda: driver.transfer.status(task).status == "SUCCEEDED")
    driver.read()
    assert driver.ledger.readings.job(job)[0].state is ReadingState.STAGING
    driver.stopping = False
    driver.new_reader()
    driver.finish(job)
    assert contents(sample.folders.raw) == before


def test_the_history_is_json(sample, driver):
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    (reading,) = driver.finish(driver.restore("raw"))
    assert json.dumps([entry.evidence for entry in driver.ledger.readings.history(reading.uid)])


def test_nothing_is_released_while_it_is_restored(sample, driver):
    frames = sample.take("raw")
    driver.until("raw", State.VERIFIED)
    before = contents(frames)
    job = driver.restore("raw")
    driver.ask("raw")
    wait_for(lambda: driver.releases.bring_on() or driver.local("raw")[0] is LocalCopy.HELD)
    assert driver.local("raw") == (LocalCopy.HELD, f"job {job} restores it")
    assert contents(frames) == before
