"""Brings jobs on: does what the machine tells, and tells it what came of it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError, WorkflowError
from apsdm_bluesky.workflows._definition import LOCAL
from apsdm_bluesky.workflows._output_file import tail
from apsdm_bluesky.workflows._outputs import MAX_OUTPUT
from apsdm_bluesky.workflows.executors import Blame, Ended, Executor, Lost, Report, Running

from ._events import (
    Began,
    Event,
    Hindered,
    Resumed,
    StageEntered,
    StageFailed,
    StagePassed,
    StageSkipped,
    Stopped,
)
from ._job import Attempt, Job, State
from ._machine import Instruction, next_instruction
from ._prepare import prepare, skip_reason, task_of, write_variables
from ._publish import make_job_folder, publish
from ._settle import after_failure, after_success, has_failed
from ._store import JobStore, StaleError
from ._work import Work

log = logging.getLogger(__name__)

_AGAIN_S = (10.0, 300.0)  # after a hindrance, doubled each time up to the longest
_TRIES = 10  # of a change that others came before


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How far a job was brought.

    Parameters
    ----------
    lane
        The executor that it goes on with: who brought it on for another one has not asked that one anything.
    """

    job: Job
    lane: str


class Driver:
    """Brings one job on at a time, as far as it goes now. Its methods may be called from several threads.

    Parameters
    ----------
    executors
        By the name that a stage's `where` has.
    actor
        Named in the history.
    started
        Told the id of each task that is started, and its job's.
    should_stop
        Whether the process is to end: what is long is not begun any more.
    in_order
        When the last agent ended in order [s since the Unix epoch]; None: it was killed, or there was none.
    """

    def __init__(
        self,
        store: JobStore,
        executors: Mapping[str, Executor],
        *,
        actor: str,
        started: Callable[[str, str], None],
        should_stop: Callable[[], bool],
        in_order: float | None,
    ) -> None:
        self._store = store
        self._executors = executors
        self._actor = actor
        self._started = started
        self._should_stop = should_stop
        self._in_order = in_order
        self._delays: dict[str, float] = {}
        self._steps: Mapping[Instruction, Callable[[Work], bool]] = {
            Instruction.BEGIN: self._begin,
            Instruction.ENTER: self._enter,
            Instruction.SETTLE: self._settle,
            Instruction.STOP: self._stop,
        }

    def bring_on(self, uid: str, lane: str = LOCAL) -> Outcome | None:
        """Bring a job on until it waits for a process, a time, another executor than `lane`, or nothing.

        Returns
        -------
        How far it came; None where it must be looked at anew.

        Raises
        ------
        StorageError, ServiceError
            The database cannot be read or written now: nothing is lost.
        """
        for _ in range(_TRIES):
            work = Work(self._store, uid, actor=self._actor)
            try:
                while self._lane(work, lane) == lane and self._step(work):
                    pass
                work.save()
            except StaleError:
                continue
            return Outcome(job=work.job, lane=self._lane(work, lane))
        return None

    def _lane(self, work: Work, present: str) -> str:
        """The executor that is asked next; the present one where none is, or where it is gone."""
        if next_instruction(work.job) not in (Instruction.SETTLE, Instruction.STOP):
            return present
        found = (attempt.where for attempt in work.current() if attempt.where in self._executors)
        return next(found, present)

    def _step(self, work: Work) -> bool:
        """One instruction; whether the next one can follow at once."""
        instruction = next_instruction(work.job)
        if instruction is Instruction.REST or (work.job.wake or 0) > time.time() or self._should_stop():
            return False
        try:
            return self._steps[instruction](work)
        except WorkflowError as error:
            self._fail(work, error)
        except StaleError:
            raise
        except ServiceError as error:
            self._hinder(work, str(error), Blame.NETWORK)
        except (ApsdmError, OSError) as error:
            self._hinder(work, _told(error), Blame.SYSTEM)
        except Exception as error:  # a defect of ours: this job waits, and the others go on
            log.exception("job %s", work.job.id)
            self._hinder(work, f"{type(error).__name__}: {error}; see the agent's log", Blame.SYSTEM)
        return False

    def _begin(self, work: Work) -> bool:
        parent = None if work.job.parent is None else self._store.folder(work.job.parent)
        make_job_folder(work.folder, work.job, parent)
        work.put(Began(at=time.time()))
        return True

    def _enter(self, work: Work) -> bool:
        now, job, stage = time.time(), work.job, work.stage
        if stage.where not in self._executors:
            reason = f"stage {stage.name!r}: {stage.where!r} is no remote of this beamline; see beamline.yml"
            work.put(StageFailed(at=now, reason=reason, blame=Blame.COMMAND))
            return False
        first_time = not (job.round or job.retry or job.lost)
        skipped = skip_reason(stage, work.values) if first_time else None
        if skipped is not None:
            work.put(StageSkipped(at=now, reason=skipped))
            return True
        new = prepare(job, stage, work.folder, work.of_round(), number=work.next_number(), at=now)
        work.add(new)
        work.put(StageEntered(at=now, processes=len(new)))
        return True

    def _settle(self, work: Work) -> bool:
        running = self._look(work)
        if work.job.wake is not None:
            work.put(Resumed(at=time.time()))
        unasked = [attempt for attempt in work.current() if attempt.asked is None]
        if unasked and not has_failed(work.of_round()):
            self._start(work, unasked, running)
            return False
        if running:
            return False
        work.put(self._outcome(work))
        self._delays.pop(work.job.id, None)
        return True

    def _look(self, work: Work) -> int:
        """Look at what was asked to start; how many of it run. What never came to be started is, now."""
        running = 0
        for attempt in work.current():
            if attempt.asked is None or attempt.ended is not None:
                continue
            executor, task = self._executor(attempt), task_of(attempt, work.folder)
            report = executor.look(task)
            if report is None:
                self._started(attempt.id, attempt.job)
                executor.start(task)
            elif self._has_ended(work, attempt, report):
                continue
            running += 1
        return running

    def _has_ended(self, work: Work, attempt: Attempt, report: Report) -> bool:
        if isinstance(report, Ended | Lost):
            work.tell(attempt, report)
            return True
        self._started(attempt.id, attempt.job)  # it may be another process that started it
        if isinstance(report, Running) and attempt.started is None:
            work.tell(attempt, report)
        return False

    def _start(self, work: Work, unasked: Sequence[Attempt], running: int) -> None:
        """Start what may run at once; what is started is known to the record before."""
        parallel = work.stage.parallel
        chosen = unasked[: max(0, (1 if parallel is None else parallel.limit) - running)]
        for attempt in chosen:
            write_variables(attempt, work.values, None if parallel is None else parallel.variable)
        work.ask(chosen, at=time.time())
        work.save()
        for attempt in chosen:
            if self._should_stop():
                return
            self._started(attempt.id, attempt.job)
            self._executor(attempt).start(task_of(attempt, work.folder))

    def _outcome(self, work: Work) -> Event:
        now, stage, current = time.time(), work.stage, work.current()
        if has_failed(work.of_round()):
            return after_failure(work.job, stage, work.of_round(), at=now, in_order=self._in_order)
        outputs = [tail(work.folder / attempt.folder / "stdout", MAX_OUTPUT) for attempt in current]
        event = after_success(work.job, stage, outputs, work.values, at=now)
        if isinstance(event, StagePassed):
            publish(work.folder, stage.name, current, parallel=stage.parallel is not None)
        return event

    def _stop(self, work: Work) -> bool:
        """Every process is asked to end, also where another one cannot be."""
        trouble: ApsdmError | None = None
        running = 0
        for attempt in work.current() if work.job.entered else ():
            if attempt.asked is None or attempt.ended is not None:
                continue
            try:
                running += self._still_runs(work, attempt)
            except (ServiceError, StorageError) as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        if not running:
            work.put(Stopped(at=time.time()))
        elif work.job.wake is not None:
            work.put(Resumed(at=time.time()))
        return False

    def _still_runs(self, work: Work, attempt: Attempt) -> bool:
        executor, task = self._executor(attempt), task_of(attempt, work.folder)
        try:
            report = executor.look(task)
        except (ServiceError, StorageError):
            executor.stop(task)
            raise
        if report is None or self._has_ended(work, attempt, report):
            return False
        executor.stop(task)
        return True

    def _executor(self, attempt: Attempt) -> Executor:
        if attempt.where not in self._executors:
            raise ServiceError(
                f"remote {attempt.where!r}, where it runs, is not in beamline.yml any more; put it back"
            )
        return self._executors[attempt.where]

    def _fail(self, work: Work, error: WorkflowError) -> None:
        """Trying again would change nothing."""
        if work.job.state is State.ABORTING:
            self._hinder(work, str(error), Blame.SYSTEM)
            return
        reason = f"stage {work.job.stage_name!r}: {error}"
        work.put(StageFailed(at=time.time(), reason=reason, blame=Blame.COMMAND))

    def _hinder(self, work: Work, reason: str, blame: Blame) -> None:
        uid, now = work.job.id, time.time()
        if work.job.reason != reason:
            log.warning("job %s: %s", uid, reason)
        delay = self._delays[uid] = min(2 * self._delays.get(uid, _AGAIN_S[0] / 2), _AGAIN_S[1])
        work.put(Hindered(at=now, wake=now + delay, reason=reason, blame=blame))


def _told(error: ApsdmError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}; free space or give access there, it goes on by itself"
    return str(error)
