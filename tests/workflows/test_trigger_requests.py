"""Runs in the spool become jobs: once a run and rule, whatever happens in between."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.callbacks import CatalogWriter, WorkflowTrigger
from apsdm_bluesky.config import TriggerConfig
from apsdm_bluesky.spool import RunFile, Spool
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import JobFilter, JobStore, State, TriggerRequests, Workflows

ROOT = Path(__file__).parents[2]
SUM = Workflow(
    name="sum", owner="staff", arguments={"sample": None}, stages=(Stage(name="run", command="echo $sample"),)
)


class Beamline:
    """A spool and jobs in a state folder."""

    def __init__(self, home):
        self.home = home
        self.session = Spool(home / "spool").open_session()
        self.store = JobStore(home / "jobs")

    def take(self, uid, rules, *, stopped=True, ledger=None, **more):
        start = {"uid": uid, "time": 1.0, "plan_name": "count", "sample": "silica", **more}
        writer, trigger = CatalogWriter(self.session, None), WorkflowTrigger(self.session, rules)
        for callback in (writer, trigger):
            callback("start", start)
        if ledger is not None:
            keys = {key: {"source": "t", "dtype": "integer", "shape": []} for key in ledger}
            about = {"uid": f"{uid}-d", "run_start": uid, "time": 1.0, "name": "ledger", "data_keys": keys}
            writer("descriptor", about)
            event = {"uid": f"{uid}-e", "descriptor": about["uid"], "time": 1.0, "seq_num": 1}
            writer("event", {**event, "data": ledger, "timestamps": dict.fromkeys(ledger, 1.0)})
        if stopped:
            self.stop(uid, writer)

    def stop(self, uid, writer=None):
        stop = {"uid": f"{uid}-stop", "time": 2.0, "run_start": uid, "exit_status": "success"}
        (writer or self.session.write)("stop", stop)

    def requests(self):
        return TriggerRequests(Spool(self.home / "spool"), self.store, actor="agent")

    def jobs(self):
        return sorted((job.run, job.rule, str(job.state)) for job in self.store.list())


@pytest.fixture
def beamline(tmp_path):
    made = Beamline(tmp_path / "home")
    yield made
    made.session.close()
    made.store.close()


def rule(name="r", **more):
    more = {"workflow": "sum", "arguments": {"sample": "$sample"}, **more}
    return TriggerConfig.model_validate({"name": name, **more})


def test_a_run_that_ended_starts_its_jobs_once(beamline):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule("a"), rule("b", workflow="staff/sum"), rule("c", when="$sample == 'gold'")])
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile(), beamline.requests().reconcile()] == [2, 0, 0]
    assert beamline.jobs() == [("u", "a", "pending"), ("u", "b", "pending")]
    (job, _) = beamline.store.list()
    assert (dict(job.arguments), job.owner, job.version) == ({"sample": "silica"}, "staff", 1)


def test_an_open_run_starts_its_job_when_it_stops(beamline):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule()], stopped=False)
    requests = beamline.requests()
    assert requests.reconcile() == 0
    beamline.stop("u")
    assert requests.reconcile() == 1


def test_the_rules_are_those_of_the_run_not_of_the_agent(beamline):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule("then")])
    beamline.take("v", [])
    assert beamline.requests().reconcile() == 1
    assert beamline.jobs() == [("u", "then", "pending")]


def test_loss_is_read_from_the_ledger(beamline):
    beamline.store.definitions.add(SUM, actor="staff")
    rules = [rule("whole", loss="none"), rule("holes", loss="some"), rule("any")]
    beamline.take("whole", rules, ledger={"det_missing": 0, "det_corrupt": 0})
    beamline.take("holes", rules, ledger={"det_missing": 2, "det_corrupt": 0})
    beamline.take("untold", rules)
    beamline.requests().reconcile()
    started = {(run, name) for run, name, _ in beamline.jobs()}
    assert started == {(run, "any") for run in ("whole", "holes", "untold")} | {
        ("whole", "whole"),
        ("holes", "holes"),
    }


def test_a_job_that_was_removed_for_its_age_does_not_come_back(beamline):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule()])
    beamline.requests().reconcile()
    beamline.store.remove(beamline.store.list()[0].id)
    assert beamline.requests().reconcile() == 0
    assert beamline.jobs() == []


def test_killed_at_every_step_each_rule_has_one_job(beamline, tmp_path):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule("a"), rule("nobody", workflow="nobody")])
    beamline.session.close()
    beamline.store.close()
    script = [sys.executable, "-m", "tests.dying_trigger", beamline.home, tmp_path / "template"]
    run = subprocess.run(script, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    for outcome in outcomes:
        jobs = [["u", "a", "pending"], ["u", "nobody", "failed"]]
        assert (outcome["again"], outcome["jobs"], outcome["marked"]) == (0, jobs, [True]), outcome
    codes = [outcome["code"] for outcome in outcomes]
    assert codes == [-signal.SIGKILL] * 6 + [0]


# -- rules that cannot submit --


def test_an_unknown_workflow_is_a_failed_job_that_can_be_resubmitted(beamline, caplog):
    beamline.take("u", [rule()])
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile(), beamline.requests().reconcile()] == [1, 0, 0]
    (failed,) = beamline.store.list(JobFilter(states=[State.FAILED]))
    assert failed.reason.startswith("rule r: workflow 'sum' is not known")
    assert [(line.event, line.told) for line in beamline.store.history(failed.id)] == [
        ("StageFailed", failed.reason)
    ]
    assert caplog.text.count("is not known") == 1
    assert beamline.store.stages(failed) == []

    beamline.store.definitions.add(SUM, actor="staff")
    workflows = Workflows(beamline.store, owner="someone")
    job = workflows.job(workflows.resubmit(failed.id))
    assert (job.state, job.run, dict(job.arguments)) == (State.PENDING, "u", {"sample": "silica"})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "argument sample is missing"),
        ({"sample": "$nobody"}, "argument sample: the run has no variable $nobody"),
        ({"sample": "1", "more": "2"}, "argument 'more' is not known"),
        ({"sample": "$title"}, "holds a NUL"),
    ],
)
def test_an_argument_that_cannot_be_used_is_a_failed_job(beamline, arguments, told):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule(arguments=arguments), rule("good")], title="a\0b")
    beamline.requests().reconcile()
    assert beamline.jobs() == [("u", "good", "pending"), ("u", "r", "failed")]
    (failed,) = beamline.store.list(JobFilter(states=[State.FAILED]))
    assert told in failed.reason


def test_a_condition_that_cannot_be_judged_is_told_once_and_does_not_apply(beamline, caplog):
    beamline.store.definitions.add(SUM, actor="staff")
    for uid in ("u", "v"):
        beamline.take(uid, [rule(when="$nobody > 1")])
    assert beamline.requests().reconcile() == 0
    assert caplog.messages == [
        "rule r does not apply to run u: the run has no variable $nobody: have its metadata give it"
    ]


# -- what lies in the spool --


def test_a_note_that_cannot_be_read_is_told_once(beamline, caplog):
    beamline.take("u", [rule()])
    beamline.session.note("u", "workflows", {"rules": [{"name": "r"}]})
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile()] == [0, 0]
    assert len(caplog.messages) == 1
    assert "run u starts no workflow: its rules cannot be read: workflow: Field required" in caplog.text


def test_a_damaged_run_is_told_once_and_others_go_on(beamline, caplog):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("damaged", [rule()])
    beamline.take("whole", [rule()])
    path = next(run.path for run in beamline.session.runs() if run.uid == "damaged")
    path.write_bytes(b"\xff{\n" + path.read_bytes().partition(b"\n")[2])
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile()] == [1, 0]
    assert len(caplog.messages) == 1
    assert "run damaged starts no workflow" in caplog.text


def test_a_run_that_cannot_be_marked_starts_nothing_twice(beamline, caplog):
    beamline.store.definitions.add(SUM, actor="staff")
    beamline.take("u", [rule()])
    (run,) = beamline.session.runs()
    mark = run.path.with_suffix(".triggered")
    blocked = mark.with_name(f".{mark.name}.{os.getpid()}.new")
    blocked.mkdir()
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile()] == [1, 0]
    assert not run.triggered
    assert len(caplog.messages) == 1
    blocked.rmdir()
    requests.reconcile()
    assert run.triggered


def test_what_left_the_spool_is_forgotten(beamline, caplog):
    """The agent runs for months; what it keeps of runs is no more than there are in the spool."""
    beamline.take("u", [rule()])
    beamline.session.note("u", "workflows", {"rules": [{"name": "r"}]})
    requests, runs = beamline.requests(), list(beamline.session.runs())
    for listed in (runs, runs, [], runs):
        requests.reconcile(listed)
    assert len(caplog.messages) == 2


def test_a_run_that_nobody_foresaw_does_not_hold_up_others(beamline, caplog):
    beamline.store.definitions.add(SUM, actor="staff")
    for uid in ("strange", "whole"):
        beamline.take(uid, [rule()])
    path = next(run.path for run in beamline.session.runs() if run.uid == "strange")
    path.with_suffix(".notes.json").write_text("[1]")
    requests = beamline.requests()
    assert [requests.reconcile(), requests.reconcile()] == [1, 0]
    assert beamline.jobs() == [("whole", "r", "pending")]
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("note", [[], "rules", 5, {"rules": None}, {"rules": [5]}, {"rules": "ab"}])
def test_notes_that_are_none_of_ours_are_told(beamline, caplog, note):
    beamline.take("u", [rule()])
    beamline.session.note("u", "workflows", note)
    assert beamline.requests().reconcile() == 0
    assert "run u starts no workflow: its rules cannot be read" in caplog.text
    assert not caplog.records[0].exc_info


def test_settled_runs_are_not_read_again(beamline, monkeypatch):
    beamline.store.definitions.add(SUM, actor="staff")
    for uid, rules in (("with", [rule()]), ("without", [])):
        beamline.take(uid, rules)
    requests = beamline.requests()
    requests.reconcile()
    monkeypatch.setattr(RunFile, "_beside", lambda run, suffix: pytest.fail(f"{run.uid}.{suffix} was read"))
    monkeypatch.setattr(RunFile, "_last_line", lambda run: pytest.fail(f"{run.uid} was read"))
    assert requests.reconcile(beamline.session.runs()) == 0


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.WARNING)
