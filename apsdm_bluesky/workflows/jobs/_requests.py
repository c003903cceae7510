"""Jobs that runs ask for, derived from the spool: runs with a 'workflows' note and a stop document."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsdm_bluesky.config import TriggerConfig
from apsdm_bluesky.errors import ServiceError, StorageError, WorkflowError
from apsdm_bluesky.spool import RunFile, Spool
from apsdm_bluesky.workflows._definition import Workflow
from apsdm_bluesky.workflows._triggers import NOTE, frames_lost, rule_arguments, rules_of, why_not

from ._store import JobStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A run that has ended, with the rules that may apply to it."""

    uid: str
    rules: Sequence[TriggerConfig]
    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    lost: int | None


class TriggerRequests:
    """Compares the spool with the jobs: each rule that applies to a run starts one job of it.

    A run is marked in the spool when its jobs stand in the database: it starts none again, even when these
    are removed for their age. Killed in between, they are asked for anew, and are there already.

    Parameters
    ----------
    actor
        Named in the history.
    """

    def __init__(self, spool: Spool, store: JobStore, *, actor: str) -> None:
        self._spool = spool
        self._store = store
        self._actor = actor
        self._settled: set[str] = set()
        self._told: dict[str, str] = {}

    def reconcile(self, runs: Iterable[RunFile] | None = None) -> int:
        """Submit what runs that have ended ask for; returns how many jobs there were.

        Parameters
        ----------
        runs
            Those of the spool, where they were listed already.

        Raises
        ------
        StorageError, ServiceError
            The database cannot be written now.
        """
        listed = list(self._spool.runs() if runs is None else runs)
        self._forget_all_but({run.uid for run in listed})
        return sum(self._request(run) for run in listed if run.uid not in self._settled)

    def _forget_all_but(self, uids: set[str]) -> None:
        self._settled &= uids
        self._told = {key: uid for key, uid in self._told.items() if uid in uids}

    def _request(self, run: RunFile) -> int:
        """How many jobs there were of a run; one that cannot be judged does not hold up the others."""
        try:
            if (ended := self._ended(run)) is None:
                return 0
            new = sum(self._submit(ended, rule) for rule in ended.rules)
        except (StorageError, ServiceError):
            raise
        except Exception:
            log.exception("run %s starts no workflow; its documents are not as they should be", run.uid)
            self._settled.add(run.uid)
            return 0
        self._mark(run)
        return new

    def _ended(self, run: RunFile) -> _Ended | None:
        """What a run asks for; None where that is nothing, or nothing yet."""
        try:
            return self._read(run)
        except StorageError as error:
            self._tell(run.uid, run.uid, f"run {run.uid} starts no workflow: {error}")
        except WorkflowError as error:
            self._tell(run.uid, run.uid, f"run {run.uid} starts no workflow: {error}")
            self._settled.add(run.uid)
        return None

    def _read(self, run: RunFile) -> _Ended | None:
        if run.triggered:
            self._settled.add(run.uid)
            return None
        if (stop := run.stop) is None:
            return None
        if (note := run.notes.get(NOTE)) is None:  # it comes with the start, or never
            self._settled.add(run.uid)
            return None
        rules = rules_of(note)
        lost = None if all(rule.loss == "any" for rule in rules) else frames_lost(run.documents())
        return _Ended(uid=run.uid, rules=rules, start=run.start, stop=stop, lost=lost)

    def _submit(self, run: _Ended, rule: TriggerConfig) -> bool:
        """Whether there is a new job."""
        if not self._applies(run, rule):
            return False
        owner, _, name = rule.workflow.rpartition("/")
        workflow, arguments = Workflow(name=name, owner=owner, version=0), {}
        keys = {"run": run.uid, "rule": rule.name, "actor": self._actor}
        try:
            arguments = rule_arguments(rule, run.start, run.stop)
            workflow = self._store.definitions.get(name, owner=owner or None)
            job = self._store.submit(workflow, arguments, owner=workflow.owner, **keys)
        except WorkflowError as error:
            reason = f"rule {rule.name}: {error}"
            job = self._store.refuse(workflow, arguments, reason=reason, **keys)
            if job is not None:
                log.error("run %s: %s; mend it and resubmit job %s", run.uid, reason, job.id)  # noqa: TRY400 - one line for a known fault
        return job is not None

    def _applies(self, run: _Ended, rule: TriggerConfig) -> bool:
        try:
            return not why_not(rule, run.start, run.stop, lost=run.lost)
        except WorkflowError as error:
            key = f"{rule.name}: {rule.when}"
            self._tell(key, run.uid, f"rule {rule.name} does not apply to run {run.uid}: {error}")
            return False

    def _mark(self, run: RunFile) -> None:
        try:
            run.mark_triggered()
        except StorageError as error:
            self._tell(run.uid, run.uid, f"run {run.uid}: {error}")
            return
        self._settled.add(run.uid)

    def _tell(self, key: str, uid: str, message: str) -> None:
        """Log it, once for each key, a run or a rule's condition, as long as that run is in the spool."""
        if key not in self._told:
            self._told[key] = uid
            log.error("%s", message)
