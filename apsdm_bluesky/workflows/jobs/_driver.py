"""Brings jobs on: does what the machine tells, and tells it what came of it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from apsdm_bluesky.errors import ServiceError, StorageError, WorkflowError
from apsdm_bluesky.workflows._outputs import MAX_OUTPUT
from apsdm_bluesky.workflows.executors import Blame, Ended, Executor, Lost, Report, Running

from ._events import Began, Event, Hindered, StageEntered, StageFailed, StagePassed, StageSkipped, Stopped
from ._job import Attempt, Job
from ._machine import Instruction, next_instruction
from ._prepare import prepare, skip_reason, task_of
from ._publish import make_job_folder, publish
from ._settle import after_failure, after_success, has_failed
from ._store import JobStore, StaleError
from ._tails import tail
from ._work import Work

log = logging.getLogger(__name__)

_AGAIN_S = 10.0  # after a hindrance


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
    """

    def __init__(
        self,
        store: JobStore,
        executors: Mapping[str, Executor],
        *,
        actor: str,
        started: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self._executors = executors
        self._actor = actor
        self._started = started
        self._steps: Mapping[Instruction, Callable[[Work], bool]] = {
            Instruction.BEGIN: self._begin,
            Instruction.ENTER: self._enter,
            Instruction.SETTLE: self._settle,
            Instruction.STOP: self._stop,
        }

    def bring_on(self, uid: str) -> Job | None:
        """Bring a job on until it waits for a process, a time or nothing.

        Returns
        -------
        The job then; None where it must be looked at anew.
        """
        try:
            work = Work(self._store, uid, actor=self._actor)
            while self._step(work):
                pass
            work.save()
        except StaleError:
            log.debug("job %s was changed by somebody else: it is looked at anew", uid)
            return None
        except (StorageError, ServiceError) as error:  # nothing is lost: it goes on when the database does
            log.warning("job %s: %s", uid, error)
            return None
        return work.job

    def _step(self, work: Work) -> bool:
        """One instruction; whether the next one can follow at once."""
        instruction = next_instruction(work.job)
        if instruction is Instruction.REST or (work.job.wake or 0) > time.time():
            return False
        try:
            return self._steps[instruction](work)
        except WorkflowError as error:
            reason = f"stage {work.stage.name!r}: {error}"
            work.put(StageFailed(at=time.time(), reason=reason, blame=Blame.COMMAND))
        except ServiceError as error:
            self._hinder(work, str(error), Blame.NETWORK)
        except (StorageError, OSError) as error:
            self._hinder(work, _told(error), Blame.SYSTEM)
        return False

    def _begin(self, work: Work) -> bool:
        parent = None if work.job.parent is None else self._store.folder(work.job.parent)
        make_job_folder(work.folder, work.job, parent)
        work.put(Began(at=time.time()))
        return True

    def _enter(self, work: Work) -> bool:
        now, job, stage = time.time(), work.job, work.stage
        executor = self._executors.get(stage.where)
        if executor is None:
            reason = f"stage {stage.name!r}: {stage.where!r} is no remote of this beamline; see beamline.yml"
            work.put(StageFailed(at=now, reason=reason, blame=Blame.COMMAND))
            return False
        skipped = skip_reason(stage, work.values)
        if skipped is not None:
            work.put(StageSkipped(at=now, reason=skipped))
            return True
        new = prepare(job, stage, work.folder, work.of_round(), number=work.next_number(), at=now)
        work.add(new)
        work.put(StageEntered(at=now, processes=len(new)))
        return True

    def _settle(self, work: Work) -> bool:
        executor = self._executors[work.stage.where]
        unstarted, running = self._look(work, executor)
        if unstarted and not has_failed(work.of_round()):
            self._start(work, executor, unstarted, running)
            return False
        if running:
            return False
        work.put(self._outcome(work))
        return True

    def _look(self, work: Work, executor: Executor) -> tuple[Sequence[Attempt], int]:
        """The processes that were never started, and how many run."""
        unstarted, running = [], 0
        for attempt in work.current():
            if attempt.ended is not None:
                continue
            report = executor.look(task_of(attempt, work.folder))
            if report is None:
                unstarted.append(attempt)
                continue
            self._note(work, attempt, report)
            running += not isinstance(report, Ended | Lost)
        return unstarted, running

    def _note(self, work: Work, attempt: Attempt, report: Report) -> None:
        if isinstance(report, Ended | Lost):
            work.tell(attempt, report)
            return
        self._started(attempt.id, attempt.job)  # it may be another process that started it
        if isinstance(report, Running) and attempt.started is None:
            work.tell(attempt, report)

    def _start(self, work: Work, executor: Executor, unstarted: Sequence[Attempt], running: int) -> None:
        """Start what may run at once; what is started is known to the record before."""
        limit = 1 if work.stage.parallel is None else work.stage.parallel.limit
        work.save()
        for attempt in unstarted[: max(0, limit - running)]:
            self._started(attempt.id, attempt.job)
            executor.start(task_of(attempt, work.folder))

    def _outcome(self, work: Work) -> Event:
        now, stage, current = time.time(), work.stage, work.current()
        if has_failed(work.of_round()):
            return after_failure(work.job, stage, work.of_round(), at=now)
        outputs = [tail(work.folder / attempt.folder / "stdout", MAX_OUTPUT) for attempt in current]
        event = after_success(work.job, stage, outputs, work.values, at=now)
        if isinstance(event, StagePassed):
            publish(work.folder, stage.name, current, parallel=stage.parallel is not None)
        return event

    def _stop(self, work: Work) -> bool:
        executor = self._executors.get(work.stage.where)
        running = 0 if executor is None or not work.job.entered else self._look(work, executor)[1]
        if running == 0 or executor is None:
            work.put(Stopped(at=time.time()))
            return False
        for attempt in work.current():
            if attempt.ended is None:
                executor.stop(task_of(attempt, work.folder))
        return False

    def _hinder(self, work: Work, reason: str, blame: Blame) -> None:
        log.warning("job %s: %s", work.job.id, reason)
        now = time.time()
        work.put(Hindered(at=now, wake=now + _AGAIN_S, reason=reason, blame=blame))


def _told(error: StorageError | OSError) -> str:
    if isinstance(error, StorageError):
        return str(error)
    return f"{error.filename}: {error.strerror}; free space or give access there, the job goes on by itself"
