"""Plan stubs for jobs, in a real RunEngine; the jobs are brought to their ends as the agent would."""

import threading
import time

import pytest
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import RunEngineInterrupted

from apsdm_bluesky.errors import ServiceError, WorkflowError
from apsdm_bluesky.plans import start_job, wait_for_job
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import JobStore, State, Workflows
from apsdm_bluesky.workflows.jobs._events import Began, StageEntered, StageFailed, StagePassed

SUM = Workflow(
    name="sum", owner="staff", arguments={"n": 1}, stages=(Stage(name="first", command="echo $n"),)
)


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs")
    made.definitions.add(SUM, actor="staff")
    yield made
    made.close()


@pytest.fixture
def jobs(store):
    return Workflows(store, owner="someone")


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr("apsdm_bluesky.plans._jobs._POLL_S", 0.01)


def end(store, uid, reason=None):
    now = time.time()
    last = StagePassed(at=now) if reason is None else StageFailed(at=now, reason=reason, blame=Blame.COMMAND)
    store.save(store.get(uid), [Began(at=now), StageEntered(at=now, processes=1), last], actor="agent")


class Watched:
    """Jobs that do something when they are looked at: between two looks the plan waits."""

    def __init__(self, jobs, on_look):
        self.submit = jobs.submit
        self._jobs = jobs
        self._on_look = on_look
        self.looks = 0
        self.threads = set()

    def job(self, uid):
        self.looks += 1
        self.threads.add(threading.current_thread().name)
        job = self._jobs.job(uid)
        self._on_look(self, uid)
        return job


def at_look(number, action):
    """Do it at a look, in the thread that looks."""

    def on_look(watched, uid):
        if watched.looks == number:
            action(uid)

    return on_look


def result_of(RE, plan):
    found = []

    def outer():
        found.append((yield from plan))

    RE(outer())
    return found[0]


def test_a_job_is_started_in_a_plan_and_waited_for(RE, jobs, store):
    watched = Watched(jobs, at_look(3, lambda uid: end(store, uid)))

    def plan():
        uid = yield from start_job(watched, "sum", {"n": 2}, run="u1")
        return (yield from wait_for_job(watched, uid, timeout_s=60))

    job = result_of(RE, plan())
    assert (job.state, dict(job.arguments), job.run, job.owner) == (State.DONE, {"n": 2}, "u1", "someone")
    assert watched.looks > 3
    assert all(name.startswith("jobs") for name in watched.threads)


def test_the_event_loop_goes_on_while_the_database_is_slow(RE, jobs, store):
    """The database answers when another message of the RunEngine was done meanwhile."""
    ticked = threading.Event()
    watched = Watched(jobs, lambda _, uid: ticked.wait(30))
    uid = jobs.start("sum")
    end(store, uid)

    def plan():
        RE.loop.call_soon(ticked.set)
        return (yield from wait_for_job(watched, uid))

    assert result_of(RE, plan()).state is State.DONE
    assert ticked.is_set()


def test_a_failed_job_fails_the_plan_with_its_reason(RE, jobs, store, documents):
    watched = Watched(jobs, at_look(1, lambda uid: end(store, uid, "the disk\nis full")))

    @bpp.run_decorator()
    def plan():
        uid = yield from start_job(watched, "sum")
        yield from wait_for_job(watched, uid)

    with pytest.raises(WorkflowError, match=r"\(sum\) failed: the disk is full; see 'apsdm job show"):
        RE(plan())
    assert documents.stop["exit_status"] == "fail"
    assert "the disk is full" in documents.stop["reason"]


def test_an_aborted_job_fails_the_plan(RE, jobs):
    uid = jobs.start("sum")
    jobs.cancel(uid)
    with pytest.raises(WorkflowError, match="was aborted: cancelled by someone"):
        RE(wait_for_job(jobs, uid))


def test_a_job_that_does_not_end_in_time_fails_the_plan_and_goes_on(RE, jobs):
    uid = jobs.start("sum")
    with pytest.raises(WorkflowError, match=r"is pending after 0.02 s: does the agent run\?"):
        RE(wait_for_job(jobs, uid, timeout_s=0.02))
    assert jobs.job(uid).state is State.PENDING


@pytest.mark.parametrize(("name", "arguments"), [("nobody", None), ("sum", {"m": 1})])
def test_a_job_that_cannot_start_fails_the_plan(RE, jobs, name, arguments):
    with pytest.raises(WorkflowError, match="is not known"):
        RE(start_job(jobs, name, arguments))


def test_jobs_of_a_run_are_events_of_it(RE, jobs, documents):
    started = []

    @bpp.run_decorator()
    def plan():
        started.append((yield from start_job(jobs, "sum", {"n": 2}, tell=True)))
        started.append((yield from start_job(jobs, "staff/sum", tell=True)))

    RE(plan())
    (descriptor,) = documents.named("descriptor")
    assert descriptor["name"] == "jobs"
    assert [event["data"] for event in documents.named("event")] == [
        {"job_id": started[0], "job_workflow": "sum", "job_arguments": '{"n": 2}'},
        {"job_id": started[1], "job_workflow": "staff/sum", "job_arguments": "{}"},
    ]


def test_a_paused_plan_goes_on_and_nothing_is_started_or_told_twice(RE, jobs, store, documents):
    watched = Watched(jobs, at_look(2, lambda uid: RE.request_pause()))

    @bpp.run_decorator()
    def plan():
        uid = yield from start_job(watched, "sum", tell=True)
        yield from wait_for_job(watched, uid)

    with pytest.raises(RunEngineInterrupted):
        RE(plan())
    (job,) = jobs.jobs()
    assert job.state is State.PENDING
    end(store, job.id)
    RE.resume()
    assert len(jobs.jobs()) == 1
    assert len(documents.named("event")) == 1
    assert documents.stop["exit_status"] == "success"


def test_a_resumed_wait_does_not_sleep_again_what_it_slept(RE, jobs, store):
    """Each look is a checkpoint: messages before it are not repeated."""
    watched = Watched(jobs, at_look(20, lambda uid: RE.request_pause()))
    uid = jobs.start("sum")
    done = []
    RE.msg_hook = lambda message: done.append(message.command)
    try:
        with pytest.raises(RunEngineInterrupted):
            RE(wait_for_job(watched, uid))
        end(store, uid)
        before = len(done)
        RE.resume()
    finally:
        RE.msg_hook = None
    assert done[:before].count("checkpoint") >= 19
    assert len(done) - before < 20


def no_answer(first, last):
    def on_look(watched, uid):
        if first <= watched.looks <= last:
            raise ServiceError("nobody answers")

    return on_look


def test_a_server_that_is_started_anew_does_not_end_the_wait(RE, jobs, store, caplog):
    uid = jobs.start("sum")
    end(store, uid)
    assert result_of(RE, wait_for_job(Watched(jobs, no_answer(1, 3)), uid)).state is State.DONE
    assert caplog.messages == [f"job {uid}: nobody answers"]


def test_a_server_that_is_gone_ends_the_wait(RE, jobs, monkeypatch):
    monkeypatch.setattr("apsdm_bluesky.plans._jobs._PATIENCE_S", 0.02)
    uid = jobs.start("sum")
    with pytest.raises(ServiceError, match="nobody answers"):
        RE(wait_for_job(Watched(jobs, no_answer(2, 1_000_000)), uid))


def test_an_aborted_plan_leaves_the_job(RE, jobs):
    watched = Watched(jobs, at_look(2, lambda uid: RE.request_pause()))

    def plan():
        yield from bps.open_run()
        uid = yield from start_job(watched, "sum")
        yield from wait_for_job(watched, uid)

    with pytest.raises(RunEngineInterrupted):
        RE(plan())
    RE.abort()
    (job,) = jobs.jobs()
    assert job.state is State.PENDING
