"""A lost ledger, rebuilt from what stands at a Globus collection."""

import pytest

from apsdm_bluesky.agent import agent_process, archive_places, open_transfers
from apsdm_bluesky.archive import Ledger, Rebuild, State
from tests.archive.samples import SampleBeamline
from tests.globus import config_of
from tests.waiting import wait_for


@pytest.fixture
def sample(globus, tmp_path):
    beamline = SampleBeamline(tmp_path / "home", globus=config_of(globus, tmp_path))
    yield beamline
    beamline.session.close()


@pytest.fixture
def tape(globus, tmp_path):
    """Where the collection keeps this beamline's bundles."""
    return globus.root("tape") / tmp_path.name / "test/2023/11"


def verified(sample):
    """What an agent makes of the ledger: size, sha256 and evidence of each bundle."""
    ledger = Ledger(sample.folders.archive)

    def done():
        records = ledger.list()
        return records and all(record.state is State.VERIFIED for record in records)

    with agent_process(sample.config):
        wait_for(done, 60, "verified bundles")
    found = {record.uid: (record.size, record.sha256, record.evidence) for record in ledger.list()}
    ledger.close()
    return found


def rebuilt(sample, **options):
    ledger, transfers = Ledger(sample.folders.archive), open_transfers(sample.config)
    try:
        return Rebuild(
            ledger, transfers.values(), archive_places(sample.config), actor="a person", **options
        ).run()
    finally:
        ledger.close()
        for transfer in transfers.values():
            transfer.close()


def test_from_manifests_and_from_a_tar(sample, tape):
    sample.take("one")
    sample.take("two")
    before = verified(sample)
    for path in (
        *sample.folders.archive.glob("ledger.sqlite*"),
        *(sample.folders.archive / "bundles").iterdir(),
        tape / "one.manifest.json",
    ):
        path.unlink()
    assert rebuilt(sample, dry_run=True).without_manifest == ["test/2023/11/one.tar"]
    report = rebuilt(sample, from_tars=True)
    assert (report.conflicts, report.refused, report.without_manifest) == ([], [], [])
    assert {entry.bundle: entry.state for entry in report.entered} == {"one": "COPIED", "two": "COPIED"}
    assert verified(sample) == before
    assert sorted(path.name for path in tape.iterdir()) == [
        "one.manifest.json",
        "one.tar",
        "two.manifest.json",
        "two.tar",
    ]
