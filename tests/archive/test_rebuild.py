"""The ledger is lost: rebuilt from the manifests it says what was observed, and all is verified again."""

import dataclasses
import shutil

import pytest

from apsdm_bluesky.archive import (
    ArchivePlaces,
    LocalCopy,
    Rebuild,
    RebuildReport,
    RunEntry,
    RunFilter,
    State,
    decode_manifest,
    encode_manifest,
)
from apsdm_bluesky.archive import _events as events
from tests.archive.samples import SampleBeamline
from tests.archive.test_archiver import Driver
from tests.waiting import wait_for

PART = 1500  # bytes of a bundle: a run of some rows fills several


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home")
    yield beamline
    beamline.session.close()


def all_verified(driver) -> None:
    def done():
        driver.step()
        runs = driver.ledger.runs.list()
        return runs and all(run.state in (State.VERIFIED, State.RELEASED) for run in runs)

    wait_for(done, message="all runs verified")


def archived(sample, *uids, **options) -> None:
    """Runs that a driver brings to VERIFIED."""
    for uid in uids:
        sample.take(uid)
    driver = Driver(sample, **options)
    all_verified(driver)
    driver.close()


def lose_ledger(sample, *, bundles: bool = True) -> None:
    """And the local manifests, where `bundles`."""
    for path in sample.folders.archive.glob("ledger.sqlite*"):
        path.unlink()
    if bundles:
        shutil.rmtree(sample.folders.archive / "bundles")


def rebuilt(driver, sample, **options):
    places = ArchivePlaces(
        folder=sample.folders.archive, roots=[sample.folders.raw], prefix="my beamline", target=PART
    )
    return Rebuild(driver.ledger, [driver.transfer], places, actor="a person", **options).run()


def listed(driver):
    """What the ledger lists, but for when it was written."""
    return {
        entry.uid: dataclasses.replace(entry, created=0, updated=0, local_reason="")
        for entry in driver.ledger.runs.list(RunFilter())
    }


def told(driver):
    """What the ledger tells of the bundles that stays true without it."""
    names = ("collection", "runs", "part", "parts", "destination", "size", "sha256", "md5")
    names += ("manifest_size", "manifest_sha256", "state", "evidence", "residency")
    return {record.uid: [getattr(record, name) for name in names] for record in driver.ledger.list()}


def test_thirty_runs_of_mixed_kind_are_as_before(sample):
    for number in range(10):
        sample.take(f"small{number}", experiment="one" if number % 2 else "two")
        if number < 5:
            sample.start(f"analysis{number}", raw_uid=f"small{number}")
            sample.stop(f"analysis{number}")
    shared = Driver(sample, wait_s=3600, target=6000, analysis_timeout_s=0)
    wait_for(lambda: shared.step() or len(shared.ledger.list()) >= 2, message="shared bundles")
    for number in range(10):
        sample.take(f"single{number}", rows=4)
    for number in range(5):
        sample.take(f"big{number}", rows=40)
    shared.close()
    driver = Driver(sample, target=PART)
    all_verified(driver)
    assert len(driver.ledger.runs.list()) == 30
    assert max(len(record.runs) for record in driver.ledger.list()) > 2
    assert max(record.parts for record in driver.ledger.list()) > 2
    before = listed(driver), told(driver)
    driver.close()
    lose_ledger(sample)
    driver = Driver(sample, target=PART)
    report = rebuilt(driver, sample)
    assert (report.conflicts, report.refused, report.without_manifest) == ([], [], [])
    assert {record.state for record in driver.ledger.list()} == {State.COPIED}
    assert all(record.evidence is None and record.verified is None for record in driver.ledger.list())
    all_verified(driver)
    assert (listed(driver), told(driver)) == before
    driver.close()


@pytest.fixture
def lost(sample):
    """Two verified runs, one of them with an analysis; the ledger and the local manifests are lost."""
    sample.start("analysis", raw_uid="one")
    sample.stop("analysis")
    archived(sample, "one", "two")
    lose_ledger(sample)
    driver = Driver(sample)
    yield driver
    driver.close()


def place(driver, name: str):
    return driver.tape / "my-beamline/2023/11" / name


def test_a_second_rebuild_changes_nothing(sample, lost):
    dry = rebuilt(lost, sample, dry_run=True)
    assert lost.ledger.list() == []
    assert not (sample.folders.archive / "bundles").exists()
    first = rebuilt(lost, sample)
    assert dry == first
    assert [(entry.bundle, entry.state) for entry in first.entered] == [("one", "COPIED"), ("two", "COPIED")]
    assert len(list((sample.folders.archive / "bundles").glob("*.manifest.json"))) == 2
    before = lost.ledger.list(), lost.ledger.history("one")
    assert rebuilt(lost, sample) == RebuildReport(known=["one", "two"])
    assert (lost.ledger.list(), lost.ledger.history("one")) == before


def test_the_history_says_by_what_it_was_found(sample, lost):
    rebuilt(lost, sample)
    first, second = lost.ledger.history("one")
    assert (first.event, first.from_state, first.to_state) == ("Rebuilt", None, "QUEUED")
    assert first.evidence["manifest"] == "local:my-beamline/2023/11/one.manifest.json"
    assert first.evidence["runs"] == ["one", "analysis"]
    assert (second.event, second.to_state, second.actor) == ("Found", "COPIED", "a person")
    assert second.evidence["found_size"] == lost.ledger.get("one").size


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_a_harmed_tar_parks_until_it_is_put_back(sample, lost, harm):
    tar = place(lost, "one.tar")
    whole = tar.read_bytes()
    tar.unlink()
    if harm == "cut":
        tar.write_bytes(whole[:-512])
    report = rebuilt(lost, sample)
    record = lost.ledger.get("one")
    assert (record.state, record.needs_person) == (State.PARKED, True)
    assert record.reason == report.entered[0].reason
    assert "one.tar" in record.reason
    lost.step()
    assert lost.ledger.get("one").state is State.PARKED
    tar.write_bytes(whole)
    lost.ledger.apply("one", events.Resumed(), actor="a person")
    assert lost.until("one", State.VERIFIED).sha256 == record.sha256


def test_a_flipped_bit_is_found_by_reading_back(sample, lost):
    tar = place(lost, "one.tar")
    whole = tar.read_bytes()
    tar.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    rebuilt(lost, sample)
    assert "one.tar: has MD5" in lost.until("one", State.PARKED).reason
    lost.until("two", State.VERIFIED)


def test_a_lost_manifest_is_told_and_made_again_of_the_raw_data(sample, lost):
    place(lost, "one.manifest.json").unlink()
    report = rebuilt(lost, sample)
    assert report.without_manifest == ["my-beamline/2023/11/one.tar"]
    assert [entry.bundle for entry in report.entered] == ["two"]
    lost.until("one", State.VERIFIED)
    assert place(lost, "one.manifest.json").exists()


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_manifest_cut_short_is_refused_and_stops_no_other(sample, lost, length):
    manifest = place(lost, "one.manifest.json")
    manifest.write_bytes(manifest.read_bytes()[:length])
    report = rebuilt(lost, sample)
    if length == -1:  # the newline at its end: it can be read, but what it should have been nobody knows
        assert lost.until("one", State.VERIFIED)
        return
    assert [line.partition(": ")[0] for line in report.refused] == ["my-beamline/2023/11/one.manifest.json"]
    assert [entry.bundle for entry in report.entered] == ["two"]


def test_the_local_manifest_stands_in_for_a_damaged_one(sample, lost):
    manifest = place(lost, "one.manifest.json")
    local = sample.folders.archive / "bundles/one.manifest.json"
    local.parent.mkdir()
    whole = manifest.read_bytes()
    local.write_bytes(whole)
    manifest.write_bytes(whole[:100])
    rebuilt(lost, sample)
    assert f"put {local} in its place" in lost.ledger.get("one").reason
    manifest.write_bytes(whole)
    lost.ledger.apply("one", events.Resumed(), actor="a person")
    lost.until("one", State.VERIFIED)


def test_a_bundle_that_was_never_sent_goes_on_from_the_local_folder(sample):
    sample.take("one")
    driver = Driver(sample)
    driver.until("one", State.BUNDLED)
    driver.close()
    lose_ledger(sample, bundles=False)
    driver = Driver(sample)
    assert [entry.state for entry in rebuilt(driver, sample).entered] == [State.BUNDLED]
    driver.until("one", State.VERIFIED)
    driver.close()


def test_released_runs_are_released_again_when_verified(sample, lost):
    shutil.rmtree(sample.folders.raw / "one.zarr")
    (next((sample.folders.raw / "two.zarr").rglob("c/0/0/0"))).unlink()
    rebuilt(lost, sample)
    entries = {entry.uid: entry for entry in lost.ledger.runs.list()}
    assert {uid: entry.local for uid, entry in entries.items()} == {
        "one": LocalCopy.RELEASED,
        "two": LocalCopy.RELEASED,
        "analysis": LocalCopy.HELD,
    }
    assert entries["two"].local_reason.startswith("1 of")
    assert entries["one"].state is State.COPIED
    lost.until("one", State.VERIFIED)
    assert lost.ledger.runs.get("one").state is State.RELEASED
    assert lost.ledger.runs.get("analysis").state is State.VERIFIED


def test_what_a_tombstone_stands_for_is_released(sample, lost):
    (sample.folders.raw / "one.zarr/image.released.json").write_text("{}")
    rebuilt(lost, sample)
    assert lost.ledger.runs.get("one").local is LocalCopy.RELEASED
    assert lost.ledger.runs.get("two").local is LocalCopy.HELD


def test_an_agent_that_was_started_before_does_no_harm(sample, lost):
    """It planned the runs again; for want of raw data it got no further."""
    shutil.rmtree(sample.folders.raw / "one.zarr")
    lost.until("one", State.QUARANTINED)
    report = rebuilt(lost, sample)
    assert "one" in [entry.bundle for entry in report.entered]
    assert lost.ledger.runs.get("one").local is LocalCopy.RELEASED
    lost.until("one", State.VERIFIED)


def test_a_lost_part_does_not_let_the_run_look_complete(sample):
    sample.take("big", rows=40)
    driver = Driver(sample, target=PART)
    all_verified(driver)
    parts = len(driver.ledger.list())
    driver.close()
    lose_ledger(sample)
    driver = Driver(sample, target=PART)
    place(driver, f"big.2of{parts}.manifest.json").unlink()
    rebuilt(driver, sample)
    lost = driver.ledger.get(f"big.2of{parts}")
    assert (lost.state, lost.needs_person) == (State.PARKED, True)
    assert lost.reason.startswith(f"part 2 of {parts}: no manifest")
    assert driver.ledger.runs.get("big").state is State.PARKED
    driver.ledger.apply(lost.uid, events.Resumed(), actor="a person")
    all_verified(driver)
    driver.close()


def test_manifests_that_claim_one_run_are_told_and_neither_is_entered(sample, lost):
    manifest = place(lost, "one.manifest.json")
    claims = decode_manifest(manifest.read_bytes())
    other = dataclasses.replace(
        claims, runs=claims.runs[:1], path="my-beamline/2024/01/one.tar", members=_only("one", claims)
    )
    copy = place(lost, "../../2024/01/one.manifest.json")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(encode_manifest(other))
    report = rebuilt(lost, sample)
    assert report.conflicts == [
        f"local:my-beamline/{folder}/one.manifest.json: another manifest claims run one too"
        for folder in ("2023/11", "2024/01")
    ]
    assert [entry.bundle for entry in report.entered] == ["two"]


def _only(uid, manifest):
    members = (dataclasses.replace(member, runs=(uid,)) for member in manifest.members if uid in member.runs)
    return tuple(members)


def test_a_manifest_elsewhere_is_refused_by_name(sample, lost):
    copy = place(lost, "../12/two.manifest.json")
    copy.parent.mkdir()
    shutil.copy(place(lost, "two.manifest.json"), copy)
    report = rebuilt(lost, sample)
    assert report.refused == [
        "my-beamline/2023/12/two.manifest.json: belongs to local:my-beamline/2023/11/two.tar"
    ]
    assert {entry.bundle for entry in report.entered} == {"one", "two"}


def test_what_contradicts_the_ledger_is_told_and_nothing_is_overwritten(sample, lost):
    rebuilt(lost, sample)
    before = lost.ledger.get("one")
    manifest = place(lost, "one.manifest.json")
    changed = dataclasses.replace(decode_manifest(manifest.read_bytes()), sha256="0" * 64, esaf="other")
    manifest.write_bytes(encode_manifest(changed))
    bundles = sample.folders.archive / "bundles"
    report = rebuilt(lost, sample)
    assert report.conflicts == [
        f"my-beamline/2023/11/one.manifest.json: is not what {bundles} has under its name",
        "local:my-beamline/2023/11/one.manifest.json: bundle one has other digests in the ledger",
    ]
    assert lost.ledger.get("one") == before


def test_a_run_that_the_ledger_has_elsewhere_is_a_conflict(sample, lost):
    for uid in ("one", "two"):
        lost.ledger.runs.add(RunEntry(uid=uid, collection="local"), actor="test")
    lost.ledger.plan(["one", "two"], actor="test")
    before = lost.ledger.list(), lost.ledger.runs.list()
    report = rebuilt(lost, sample)
    name = "local:my-beamline/2023/11/"
    assert report.conflicts == [
        f"{name}one.manifest.json: bundle one: the ledger has it with other runs",
        f"{name}two.manifest.json: bundle two: run two is in bundle one",
    ]
    assert (lost.ledger.list(), lost.ledger.runs.list()) == before


def test_another_beamlines_bundles_are_left_alone(sample, lost):
    shutil.copytree(lost.tape / "my-beamline", lost.tape / "other")
    report = rebuilt(lost, sample)
    assert {entry.bundle for entry in report.entered} == {"one", "two"}
    assert report.refused == []


# -- without manifests --


def test_from_tars_a_manifest_comes_back(sample, lost):
    """The raw data are gone, too: nothing but the tar is left."""
    before = decode_manifest(place(lost, "one.manifest.json").read_bytes())
    shutil.rmtree(sample.folders.raw / "one.zarr")
    place(lost, "one.manifest.json").unlink()
    assert rebuilt(lost, sample, from_tars=True, dry_run=True).entered[-1].state is State.COPIED
    assert not place(lost, "one.manifest.json").exists()
    report = rebuilt(lost, sample, from_tars=True)
    assert (report.refused, report.without_manifest) == ([], [])
    lost.until("one", State.VERIFIED)
    assert lost.ledger.runs.get("one").state is State.RELEASED
    after = decode_manifest(place(lost, "one.manifest.json").read_bytes())
    names = ("proposal", "esaf", "runs", "bundle", "size", "sha256", "md5", "part", "parts", "path")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    for new, old in zip(after.members, before.members, strict=True):
        source = old.source if old.path.startswith("raw/") else new.source
        assert new == dataclasses.replace(old, mtime_ns=0, source=source)
    assert not (sample.folders.archive / "rebuild").exists()


def test_from_tars_a_damaged_manifest_stays_until_a_person_replaces_it(sample, lost):
    manifest = place(lost, "one.manifest.json")
    manifest.write_bytes(b"{")
    rebuilt(lost, sample, from_tars=True)
    assert manifest.read_bytes() == b"{"
    local = sample.folders.archive / "bundles/one.manifest.json"
    assert f"put {local} in its place" in lost.ledger.get("one").reason
    manifest.write_bytes(local.read_bytes())
    lost.ledger.apply("one", events.Resumed(), actor="a person")
    lost.until("one", State.VERIFIED)


@pytest.mark.parametrize("harm", ["cut", "no bundle"])
def test_from_tars_a_harmed_tar_is_refused_and_stops_no_other(sample, lost, harm):
    tar = place(lost, "one.tar")
    last = decode_manifest(place(lost, "one.manifest.json").read_bytes()).members[-1]
    for uid in ("one", "two"):
        place(lost, f"{uid}.manifest.json").unlink()
    tar.write_bytes(tar.read_bytes()[: last.offset + 10] if harm == "cut" else b"hello" * 300)
    report = rebuilt(lost, sample, from_tars=True)
    (line,) = report.refused
    assert line.startswith("my-beamline/2023/11/one.tar: ")
    assert ("ends at byte" in line) == (harm == "cut")
    assert [(entry.bundle, entry.state) for entry in report.entered] == [("two", State.COPIED)]


def test_from_tars_all_parts_of_a_big_run(sample):
    sample.take("big", rows=40)
    driver = Driver(sample, target=PART)
    all_verified(driver)
    before = told(driver)
    for path in driver.tape.rglob("*.manifest.json"):
        path.unlink()
    driver.close()
    lose_ledger(sample)
    driver = Driver(sample, target=PART)
    report = rebuilt(driver, sample, from_tars=True)
    assert report.refused == []
    all_verified(driver)
    content = [1, 2, 3, 4, 5, 6, 7]  # up to the MD5 of the tar; the manifests are others
    after = told(driver)
    assert {uid: [values[i] for i in content] for uid, values in after.items()} == {
        uid: [values[i] for i in content] for uid, values in before.items()
    }
    driver.close()
