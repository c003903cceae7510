"""The states of a job, against what any order of events may do to it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import ENDED, Job, State
from apsdm_bluesky.workflows.jobs import _events as events
from apsdm_bluesky.workflows.jobs._machine import (
    TABLE,
    Instruction,
    TransitionError,
    apply,
    next_instruction,
)

BLAME = {"reason": "because", "blame": Blame.COMMAND}
EVENTS = [
    events.Began(at=1.0),
    events.StageEntered(at=2.0, processes=1),
    events.StageSkipped(at=3.0, reason="no"),
    events.StagePassed(at=4.0, outputs={"x": "1"}),
    events.StageRepeats(at=5.0, wake=6.0, outputs={"y": "2"}),
    events.StageRetried(at=7.0, wake=8.0, **BLAME),
    events.ProcessLost(at=9.0, reason="gone"),
    events.StageFailed(at=10.0, **BLAME),
    events.Hindered(at=11.0, wake=12.0, **BLAME),
    events.Cancelled(at=13.0, reason="by me"),
    events.Stopped(at=14.0),
]


def new(**fields) -> Job:
    base = Job(
        id="a",
        owner="me",
        workflow_owner="staff",
        workflow="w",
        version=1,
        stages=("one", "two"),
        created=0.0,
    )
    return dataclasses.replace(base, **fields)


def through(*happened: events.Event) -> Job:
    job = new()
    for event in happened:
        job = apply(job, event)
    return job


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_any_order_of_events(order):
    job = new()
    for event in order:
        before = job
        try:
            job = apply(job, event)
        except TransitionError:
            continue
        assert (before.state, type(event)) in TABLE
        assert before.state not in ENDED, "nothing follows an end"
        assert before.stage <= job.stage < len(job.stages), "a stage is never gone back to"
        assert (job.ended is not None) == (job.state in ENDED)
        assert set(before.variables) <= set(job.variables)
        assert not (job.entered and job.wake is not None and isinstance(event, events.StageRetried))
        if job.state is State.FAILED:
            assert (job.reason, job.blame) == ("because", Blame.COMMAND)


def test_a_job_that_runs_through():
    entered, passed = EVENTS[1], EVENTS[3]
    job = through(EVENTS[0], entered, passed, entered, passed)
    assert (job.state, job.variables, job.ended, job.reason) == (State.DONE, {"x": "1"}, 4.0, "")


def test_skipping_the_last_stage_after_one_that_ran_is_done():
    job = through(EVENTS[0], EVENTS[1], EVENTS[3], EVENTS[2])
    assert job.state is State.DONE


def test_a_retry_and_a_repeat_begin_the_round_anew():
    began, entered, _, _, repeats, retried, lost, *_ = EVENTS
    job = through(began, entered, lost, entered, retried)
    assert (job.round, job.retry, job.lost, job.wake, job.entered) == (0, 1, 1, 8.0, False)
    job = apply(apply(job, entered), repeats)
    assert (job.round, job.retry, job.lost, job.wake, job.entered) == (1, 0, 0, 6.0, False)


def test_a_cancelled_job_that_was_hindered_keeps_who_cancelled_it():
    job = through(EVENTS[0], EVENTS[1], EVENTS[9], EVENTS[8], EVENTS[10])
    assert (job.state, job.reason) == (State.ABORTED, "by me")


@pytest.mark.parametrize(
    ("job", "instruction"),
    [
        (new(), Instruction.BEGIN),
        (new(state=State.RUNNING), Instruction.ENTER),
        (new(state=State.RUNNING, entered=True), Instruction.SETTLE),
        (new(state=State.ABORTING), Instruction.STOP),
        *[(new(state=state), Instruction.REST) for state in ENDED],
    ],
)
def test_what_is_to_be_done_follows_from_the_job(job, instruction):
    assert next_instruction(job) is instruction
