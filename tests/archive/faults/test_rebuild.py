"""What is left when the ledger or a manifest is lost, or a bundle is cut short: rows 25 and 27."""

import shutil

import pytest

from apsdm_bluesky.agent import archive_places, open_transfers
from apsdm_bluesky.archive import Rebuild, RebuildReport, State

from .world import SENT


@pytest.fixture
def archived(world):
    """Two runs, verified; the agent is gone, and so are the state folder's ledger and manifests."""
    world.take()
    world.take("other")
    world.start()
    records = {uid: world.until(State.VERIFIED, uid) for uid in ("raw", "other")}
    world.stop()
    shutil.rmtree(world.folders.archive)
    world.before = records
    return world


def rebuild(world, **options) -> RebuildReport:
    transfers = open_transfers(world.config)
    try:
        with world.ledger() as ledger:
            places = archive_places(world.config)
            return Rebuild(ledger, transfers.values(), places, actor="a person", **options).run()
    finally:
        for transfer in transfers.values():
            transfer.close()


@pytest.mark.fault(27)
def test_a_lost_ledger_is_rebuilt_from_the_manifests(archived):
    """What was entered is only copied, until the agent has read it back; nothing is sent again."""
    report = rebuild(archived)
    assert sorted(entered.bundle for entered in report.entered) == ["other", "raw"]
    for record in archived.look().values():
        assert (record.state, record.evidence) == (State.COPIED, None)
    archived.start()
    for uid, before in archived.before.items():
        record = archived.until(State.VERIFIED, uid)
        assert (record.sha256, record.destination) == (before.sha256, before.destination)
    told = archived.told_tasks()
    assert told.count(SENT) == 2
    archived.check(*told)


@pytest.mark.fault(25)
def test_a_lost_manifest_is_made_again_from_the_tar(archived):
    manifest = archived.tape("test/2023/11/raw.manifest.json")
    manifest.rename(archived.folder / "lost")
    report = rebuild(archived)
    assert report.without_manifest == ["test/2023/11/raw.tar"]
    assert list(archived.look()) == ["other"]
    report = rebuild(archived, from_tars=True)
    assert [entered.bundle for entered in report.entered] == ["raw"]
    assert manifest.exists()
    archived.start()
    for uid, before in archived.before.items():
        assert archived.until(State.VERIFIED, uid).sha256 == before.sha256
    told = archived.told_tasks()
    archived.check(*told)


@pytest.mark.fault(25)
def test_a_bundle_cut_short_is_never_taken_for_whole(archived):
    """Its manifest tells; the person moves it away, and it is made and sent again from the raw data."""
    tar = archived.tape("test/2023/11/raw.tar")
    archived.globus.truncate(f"/{archived.folder.name}/test/2023/11/raw.tar")
    rebuild(archived, from_tars=True)
    record = archived.look()["raw"]
    assert record.state is State.PARKED, record
    archived.start()
    archived.until(State.VERIFIED, "other")
    assert archived.until(State.PARKED).needs_person
    for path in (tar, tar.with_name("raw.manifest.json")):
        path.rename(archived.tape(path.name))
    archived.resume()
    archived.until(State.VERIFIED)
    told = archived.told_tasks()
    assert told.count(SENT) == 3
    archived.check(*told, beside=("raw.tar", "raw.manifest.json"))
