"""WorkflowTrigger: the rules of a run stand in the spool from its start on."""

import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det

from apsdm_bluesky.callbacks import CatalogWriter, GlobusArchiver, WorkflowTrigger
from apsdm_bluesky.config import TriggerConfig
from apsdm_bluesky.errors import ConfigError, StorageError
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.workflows import rules_of

COUNTS = TriggerConfig(name="counts", workflow="sum", plan=("count",), arguments={"uid": "$uid"})
SCANS = TriggerConfig(name="scans", workflow="sum", plan=("*scan",))
ALL = TriggerConfig(name="all", workflow="staff/keep", analysis=True, when="$scan_id > 1")


@pytest.fixture
def session(tmp_path):
    opened = Spool(tmp_path / "spool").open_session()
    yield opened
    opened.close()


def test_a_run_of_the_run_engine_keeps_the_rules_that_may_apply_to_it(session):
    RE = RunEngine()
    RE.subscribe(CatalogWriter(session, None))
    RE.subscribe(GlobusArchiver(session))
    RE.subscribe(WorkflowTrigger(session, [COUNTS, SCANS, ALL]))
    RE(count([det]))
    (run,) = session.runs()
    assert run.stop["exit_status"] == "success"
    assert rules_of(run.notes["workflows"]) == [COUNTS, ALL]
    assert run.notes["archive"] == {"collection": "local"}
    assert not run.triggered


def test_rules_stand_before_the_run_ends_and_an_analysis_has_those_that_want_it(session):
    writer, trigger = CatalogWriter(session, None), WorkflowTrigger(session, [COUNTS, ALL])
    for uid, more in (("raw", {"plan_name": "fly"}), ("analysis", {"raw_uid": "raw"})):
        start = {"uid": uid, "time": 1.0, **more}
        writer("start", start)
        trigger("start", start)
    assert [rules_of(run.notes["workflows"]) for run in session.runs()] == [[ALL], [ALL]]


def test_a_run_without_rules_has_no_note(session):
    start = {"uid": "u", "time": 1.0, "plan_name": "fly"}
    CatalogWriter(session, None)("start", start)
    WorkflowTrigger(session, [COUNTS])("start", start)
    (run,) = session.runs()
    assert run.notes == {}


def test_a_rule_without_a_spooled_run_is_told(session):
    with pytest.raises(StorageError, match="holds no run x"):
        WorkflowTrigger(session, [ALL])("start", {"uid": "x", "time": 1.0})


def test_a_rule_that_cannot_be_read_is_told_before_any_run(session):
    with pytest.raises(ConfigError, match=r"workflows.triggers: all: when"):
        WorkflowTrigger(session, [ALL.model_copy(update={"when": "now()"})])
