"""Drives every record one step at a time: has the instruction done and records what was observed."""

import logging

from apsdm_bluesky.errors import ServiceError, StorageError

from ._backoff import Backoff
from ._events import (
    Arrived,
    Blocked,
    Bundled,
    BundleLost,
    DestinationMissing,
    Event,
    ReadBack,
    ReadFailed,
    Resumed,
    SendFailed,
    SourceDiffers,
    Waiting,
)
from ._ledger import Ledger
from ._machine import TransitionError, apply, next_instruction
from ._record import Instruction, Record, State
from ._sources import SourceError
from ._steps import Steps
from ._work import StoppedError, observed, waiting

log = logging.getLogger(__name__)

_PROGRESS = (Bundled, Arrived, ReadBack)
_TROUBLE = (Blocked, BundleLost, SendFailed, ReadFailed, DestinationMissing)
_STUCK = (State.PARKED, State.QUARANTINED)


WORKING = (State.QUEUED, State.BUNDLED, State.SUBMITTED, State.COPIED, State.ON_TAPE, State.PARKED)
"""The states in which there is something to do, or may be soon."""


class Archiver:
    """Brings the bundles of `ledger` on their way. Threads may share it, each with a bundle of its own.

    Parameters
    ----------
    actor
        Who the history names.
    """

    def __init__(self, ledger: Ledger, steps: Steps, *, actor: str) -> None:
        self._ledger = ledger
        self._steps = steps
        self._actor = actor
        self._backoff = Backoff()

    def bring_on(self, uid: str) -> bool:
        """Do all that can be done for a bundle at once; whether that was anything."""
        steps = 0
        try:
            while (record := self._ledger.get(uid)) is not None and self.advance(record):
                steps += 1
        except (StorageError, ServiceError) as error:  # of the ledger itself
            log.warning("bundle %s: %s", uid, error)
        return steps > 0

    def advance(self, record: Record) -> bool:
        """Have the record's next instruction done, once; whether there may be more to do at once.

        Whatever goes wrong stays with this record.
        """
        if not self._backoff.over(record.uid):
            return False
        try:
            return self._step(record)
        except StoppedError:
            return False
        except TransitionError as error:  # a person changed it meanwhile: look again
            log.info("%s", error)
            return False
        except (StorageError, ServiceError) as error:  # of the ledger: the step is done again when it can be
            log.warning("bundle %s: %s", record.uid, error)
            self._backoff.delay(record.uid)
            return False

    def tidy(self) -> None:
        """Remove what a killed agent left of bundles that are verified."""
        self._steps.tidy()
        for uid in self._steps.left():  # not every verified bundle: there are a hundred thousand
            record = self._ledger.get(uid)
            if record is not None and record.state is State.VERIFIED:
                self._remove_local(record)

    def _step(self, record: Record) -> bool:
        """Do and record one instruction. A parked record is tried first, and resumed if that brings news."""
        resumes = next_instruction(record) is Instruction.RESUME
        event = self._observe(apply(record, Resumed()) if resumes else record)
        if resumes:
            if isinstance(event, Blocked) and event.reason == record.reason:
                self._backoff.delay(record.uid)
                return False
            self._ledger.apply(record.uid, Resumed(), actor=self._actor)
        if event is None:
            return resumes
        self._settle(self._ledger.apply(record.uid, event, actor=self._actor), event)
        return not isinstance(event, (*_TROUBLE, Waiting))

    def _observe(self, record: Record) -> Event | None:
        """What the instruction brought, or what hindered it."""

        def take() -> Event | None:
            try:
                return self._steps.take(next_instruction(record), record)
            except SourceError as error:
                return SourceDiffers(reason=str(error))

        def on_refusal(reason: str) -> Event | None:
            self._backoff.delay(record.uid)
            return waiting(record.reason, reason)

        return observed(take, f"bundle {record.uid}", on_refusal)

    def _settle(self, record: Record, event: Event) -> None:
        level = logging.WARNING if record.state in _STUCK else logging.INFO
        log.log(
            level, "bundle %s: %s, it is %s %s", record.uid, type(event).__name__, record.state, record.reason
        )
        if isinstance(event, _PROGRESS):
            self._backoff.reset(record.uid)
        elif isinstance(event, _TROUBLE):
            self._backoff.delay(record.uid)
        if record.state is State.VERIFIED:
            self._remove_local(record)

    def _remove_local(self, record: Record) -> None:
        try:
            self._steps.remove_local(record)
        except OSError as error:
            log.warning(
                "bundle %s: its local bundle stays until the agent starts again: %s", record.uid, error
            )
