"""What comes of a stage whose processes have ended."""

import dataclasses

import pytest

from apsdm_bluesky.workflows import Retries, Stage
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import Attempt
from apsdm_bluesky.workflows.jobs import _events as events
from apsdm_bluesky.workflows.jobs._settle import MOST_LOST, after_failure, after_success
from tests.workflows.jobs.test_machine import new

STAGE = Stage(name="one", command="true")


def attempt(number: int = 1, **fields) -> Attempt:
    base = Attempt(
        id=f"a{number}", job="a", stage=0, round=0, number=number, command=("true",), folder="f", ended=1.0
    )
    return dataclasses.replace(base, **fields)


LOST = attempt(lost=True, reason="gone")
BAD = attempt(blame=Blame.SYSTEM, reason="no space")


def test_a_lost_process_is_run_anew_a_few_times():
    outcomes = [after_failure(new(lost=lost), STAGE, [LOST], at=1.0) for lost in range(MOST_LOST)]
    assert [type(event) for event in outcomes] == [events.ProcessLost] * (MOST_LOST - 1) + [
        events.StageFailed
    ]
    assert outcomes[-1].blame is Blame.SYSTEM


def test_the_wait_before_a_retry_grows():
    stage = dataclasses.replace(STAGE, retries=Retries(count=3, delay_s=10, factor=2, longest_s=30))
    outcomes = [after_failure(new(retry=retry), stage, [BAD], at=100.0) for retry in range(4)]
    assert [event.wake for event in outcomes[:3]] == [110.0, 120.0, 130.0]
    assert isinstance(outcomes[3], events.StageFailed)
    assert (outcomes[3].reason, outcomes[3].blame) == ("no space", Blame.SYSTEM)
    assert "(try 2 of 4 follows)" in outcomes[0].reason


def test_a_failure_counts_more_than_a_loss():
    lost = dataclasses.replace(LOST, number=2, child=1)
    assert isinstance(after_failure(new(), STAGE, [BAD, lost], at=1.0), events.StageFailed)


def test_only_the_last_attempt_at_a_child_counts():
    again = attempt(2, blame=Blame.COMMAND, reason="again")
    assert after_failure(new(), STAGE, [BAD, again], at=1.0).reason == "again"


@pytest.mark.parametrize(
    ("output", "reason"), [(b"", "matches nowhere"), (b"n=" + b"9" * 70_000, "would hold")]
)
def test_an_output_that_does_not_fit_fails_the_stage(output, reason):
    stage = dataclasses.replace(STAGE, outputs=(r"n=(?P<n>\d+)",))
    event = after_success(new(), stage, [output], {}, at=1.0)
    assert isinstance(event, events.StageFailed)
    assert reason in event.reason
    assert event.blame is Blame.COMMAND
