"""What comes of a stage whose processes have ended: pure decisions, made of the job and its attempts."""

from collections.abc import Mapping, Sequence

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._conditions import Condition, parse_condition
from apsdm_bluesky.workflows._definition import Repeat, Stage, Variable
from apsdm_bluesky.workflows._outputs import find_outputs
from apsdm_bluesky.workflows.executors import Blame

from ._events import Event, ProcessLost, StageFailed, StagePassed, StageRepeats, StageRetried
from ._job import Attempt, Job

MOST_LOST = 5
"""Times in a row that a stage is run anew since its process was lost: it may be what harms the machine."""


def latest(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The last attempt at each child, in the order of the children."""
    found = {attempt.child: attempt for attempt in sorted(attempts, key=lambda attempt: attempt.number)}
    return [found[child] for child in sorted(found)]


def has_failed(attempts: Sequence[Attempt]) -> bool:
    """Whether a child's last attempt did not end well: no other one is started then."""
    return any(attempt.ended is not None and not attempt.well for attempt in latest(attempts))


def after_failure(
    job: Job, stage: Stage, attempts: Sequence[Attempt], *, at: float, in_order: float | None = None
) -> Event:
    """What follows when all that was started has ended, and some of it not well.

    Parameters
    ----------
    in_order
        When the last agent ended in order: what was started before was lost by that. None: it did not.
    """
    bad = [attempt for attempt in latest(attempts) if attempt.ended is not None and not attempt.well]
    own = [attempt for attempt in bad if not attempt.lost]
    if own:
        return failure(job, stage, _told(own[0]), own[0].blame or Blame.COMMAND, at=at)
    if in_order is not None and all((attempt.asked or 0) <= in_order for attempt in bad):
        return ProcessLost(at=at, reason="the agent was ended while it ran", counts=False)
    if job.lost + 1 >= MOST_LOST:
        reason = (
            f"{bad[0].reason} {MOST_LOST} times: look whether it takes too much of the machine, then resubmit"
        )
        return StageFailed(at=at, reason=reason, blame=Blame.SYSTEM)
    return ProcessLost(at=at, reason=bad[0].reason)


def failure(job: Job, stage: Stage, reason: str, blame: Blame, *, at: float) -> Event:
    """Another try, where the stage has one left, or the end."""
    retries = stage.retries
    if retries is not None and job.retry < retries.count:
        wake = at + retries.delay(job.retry + 1)
        told = f"{reason} (try {job.retry + 2} of {retries.count + 1} follows)"
        return StageRetried(at=at, wake=wake, reason=told, blame=blame)
    return StageFailed(at=at, reason=reason, blame=blame)


def after_success(
    job: Job, stage: Stage, outputs: Sequence[bytes], known: Mapping[str, Variable], *, at: float
) -> Event:
    """What follows when all children ended well.

    Parameters
    ----------
    outputs
        The last of each child's standard output.
    known
        The variables before this stage.
    """
    try:
        found = _variables(stage, outputs)
        if stage.repeat is None:
            return StagePassed(at=at, outputs=found)
        return _repeated(job, stage, stage.repeat, found, known, at=at)
    except WorkflowError as error:
        return failure(job, stage, f"stage {stage.name!r}: {error}", Blame.COMMAND, at=at)


def _told(attempt: Attempt) -> str:
    return attempt.reason if attempt.item is None else f"{attempt.item}: {attempt.reason}"


def _variables(stage: Stage, outputs: Sequence[bytes]) -> dict[str, Variable]:
    """A parallel stage's variables are lists, one value a child."""
    each = [find_outputs(stage.outputs, output, required=stage.repeat is None) for output in outputs]
    if stage.parallel is None:
        return dict(each[0])
    names = dict.fromkeys(name for found in each for name in found)
    return {name: tuple(found.get(name, "") for found in each) for name in names}


def _repeated(
    job: Job,
    stage: Stage,
    repeat: Repeat,
    found: Mapping[str, Variable],
    known: Mapping[str, Variable],
    *,
    at: float,
) -> Event:
    condition = parse_condition(repeat.until)
    if _holds(condition, {**known, **found}):
        return StagePassed(at=at, outputs=found)
    if job.round + 1 >= repeat.maximum:
        reason = f"stage {stage.name!r}: {repeat.until!r} did not hold after {repeat.maximum} times"
        return StageFailed(at=at, reason=f"{reason}: look at its output, or allow more", blame=Blame.COMMAND)
    return StageRepeats(at=at, wake=at + repeat.period_s, outputs=found)


def _holds(condition: Condition, values: Mapping[str, Variable]) -> bool:
    """What its output does not tell yet cannot hold yet."""
    return all(name in values for name in condition.names) and condition.holds(values)
