"""GlobusArchiver: a request stands in the spool from the run's start on."""

import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det

from apsdm_bluesky.callbacks import CatalogWriter, GlobusArchiver
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import Spool


@pytest.fixture
def session(tmp_path):
    opened = Spool(tmp_path / "spool").open_session()
    yield opened
    opened.close()


def test_raw_run_of_the_run_engine_is_requested(session):
    RE = RunEngine()
    RE.subscribe(CatalogWriter(session, None))
    RE.subscribe(GlobusArchiver(session, collection="alcf#dtn_hpss"))
    (uid,) = RE(count([det]))
    (run,) = session.runs()
    assert (run.uid, run.stop["exit_status"]) == (uid, "success")
    assert run.notes == {"archive": {"collection": "alcf#dtn_hpss"}}


def test_request_stands_before_the_run_ends_and_analyses_have_none(session):
    writer, archiver = CatalogWriter(session, None), GlobusArchiver(session)
    for uid, more in (("raw", {}), ("analysis", {"raw_uid": "raw"})):
        start = {"uid": uid, "time": 1.0, **more}
        writer("start", start)
        archiver("start", start)
    notes = {run.uid: run.notes for run in session.runs()}
    assert notes == {"raw": {"archive": {"collection": "local"}}, "analysis": {}}


def test_request_without_a_spooled_run_is_told(session):
    with pytest.raises(StorageError, match="holds no run x"):
        GlobusArchiver(session)("start", {"uid": "x", "time": 1.0})
