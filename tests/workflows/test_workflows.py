"""`session.workflows`: jobs started, waited for and shown in Python."""

import threading
import time

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import JobStore, State, Workflows
from apsdm_bluesky.workflows.jobs._events import Began, StageEntered, StageFailed, StagePassed

SUM = Workflow(
    name="sum",
    owner="staff",
    arguments={"run": None, "n": 1},
    stages=(Stage(name="first", command="echo $run $n"),),
)


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs")
    made.definitions.add(SUM, actor="staff")
    yield made
    made.close()


@pytest.fixture
def workflows(store):
    return Workflows(store, owner="someone")


def end(store, uid, *, reason=None):
    """Bring a job to its end, as the agent would."""
    now = time.time()
    last = StagePassed(at=now) if reason is None else StageFailed(at=now, reason=reason, blame=Blame.COMMAND)
    store.save(store.get(uid), [Began(at=now), StageEntered(at=now, processes=1), last], actor="agent")


def test_a_job_is_started_and_seen(workflows):
    uid = workflows.start("sum", run="u1")  # an argument may be named as a parameter of `submit`
    other = workflows.submit("staff/sum", {"run": "u2", "n": 3}, run="u2")
    job = workflows.job(uid[:8])
    assert (job.owner, job.state, dict(job.arguments)) == ("someone", State.PENDING, {"run": "u1", "n": 1})
    assert [job.id for job in workflows.jobs()] == [other, uid]
    assert [job.id for job in workflows.jobs(run="u2")] == [other]


@pytest.mark.parametrize(("name", "arguments"), [("nobody", {}), ("other/sum", {"run": "u"}), ("sum", {})])
def test_what_cannot_be_started_is_told(workflows, name, arguments):
    with pytest.raises(WorkflowError):
        workflows.start(name, **arguments)
    assert len(workflows.jobs()) == 0


def test_waiting_ends_with_the_job(workflows, store):
    uid = workflows.start("sum", run="u")
    with pytest.raises(WorkflowError, match=r"is pending after 0 s: does the agent run\?"):
        workflows.wait(uid, timeout_s=0)
    ending = threading.Timer(0.05, end, [store, uid])
    ending.start()
    assert workflows.wait(uid, timeout_s=60).state is State.DONE
    ending.join()


def test_waiting_tells_why_a_job_failed(workflows, store):
    uid = workflows.start("sum", run="u")
    end(store, uid, reason="no such\nfile")
    with pytest.raises(WorkflowError, match=rf"job {uid} \(sum\) failed: no such file; see 'apsdm job show"):
        workflows.wait(uid)


def test_a_cancelled_job_is_told_and_can_be_run_again_with_other_arguments(workflows):
    uid = workflows.start("sum", run="u")
    workflows.cancel(uid)
    with pytest.raises(WorkflowError, match="was aborted: cancelled by someone"):
        workflows.wait(uid)
    again = workflows.job(workflows.resubmit(uid, n=5))
    assert (again.parent, dict(again.arguments)) == (uid, {"run": "u", "n": 5})


def test_jobs_show_as_a_table_that_no_text_can_break(workflows, store):
    assert repr(workflows) == "no jobs"
    uid = workflows.start("sum", run="u")
    end(store, uid, reason="<script>\x1b[31m\n" + "long " * 100)
    heading, row = repr(workflows).splitlines()
    assert heading.split() == ["id", "workflow", "state", "stage", "created", "reason"]
    assert row.split()[:4] == [uid[:8], "staff/sum", "failed", "first"]
    assert row.endswith("...")
    assert "\x1b" not in row
    shown = workflows._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert f"<td>{uid[:8]}</td>" in shown
