"""Drives every reading one step at a time, as `Archiver` does bundles."""

import logging
from collections.abc import Sequence

from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError

from ._backoff import Backoff
from ._events import Blocked, Event, Resumed, Waiting
from ._ledger import Ledger
from ._machine import TransitionError
from ._reading import Reading, ReadingInstruction, ReadingState
from ._reading_events import FetchFailed, FetchLost, FetchRefused
from ._reading_machine import apply_reading, next_reading_instruction
from ._reading_steps import ReadingSteps
from ._work import StoppedError, observed, waiting

log = logging.getLogger(__name__)

_TROUBLE = (Blocked, FetchFailed, FetchLost, FetchRefused)
_STUCK = (ReadingState.PARKED, ReadingState.FAILED)


class Reader:
    """Brings the readings of `ledger` on their way. Threads may share it, each with a reading of its own.

    Parameters
    ----------
    actor
        Who the history names.
    """

    def __init__(self, ledger: Ledger, steps: ReadingSteps, *, actor: str) -> None:
        self._ledger = ledger
        self._steps = steps
        self._actor = actor
        self._backoff = Backoff()
        self._tidying = Backoff()

    def uids(self) -> Sequence[str]:
        """The readings that there is something to do for, be it only to tidy up."""
        unfinished = [reading.uid for reading in self._ledger.readings.unfinished()]
        return list(dict.fromkeys([*unfinished, *self._steps.scratch.uids()]))

    def bring_on(self, uid: str) -> bool:
        """Do all that can be done for a reading at once; whether that was anything."""
        steps = 0
        try:
            while (reading := self._ledger.readings.get(uid)) is not None and self.advance(reading):
                steps += 1
            if reading is None:
                self._steps.scratch.remove(uid)
            elif reading.ended and self._tidying.over(uid):
                self._steps.tidy(reading)
        except (ApsdmError, OSError) as error:  # of the ledger, or of the scratch files: tried again
            log.warning("reading %s: %s", uid, error)
            self._tidying.delay(uid)
        return steps > 0

    def advance(self, reading: Reading) -> bool:
        """Have the reading's next instruction done, once; whether there may be more to do at once."""
        if reading.ended or not self._backoff.over(reading.uid):
            return False
        try:
            return self._step(reading)
        except StoppedError:
            return False
        except TransitionError as error:  # somebody changed it meanwhile: look again
            log.info("%s", error)
            return False
        except (StorageError, ServiceError) as error:  # of the ledger: the step is done again when it can be
            log.warning("reading %s: %s", reading.uid, error)
            self._backoff.delay(reading.uid)
            return False

    def _step(self, reading: Reading) -> bool:
        """Do and record one instruction. A parked reading is tried first, and resumed if that brings news."""
        resumes = next_reading_instruction(reading) is ReadingInstruction.RESUME
        event = self._observe(apply_reading(reading, Resumed()) if resumes else reading)
        if resumes:
            if isinstance(event, Blocked) and event.reason == reading.reason:
                self._backoff.delay(reading.uid)
                return False
            self._ledger.readings.apply(reading.uid, Resumed(), actor=self._actor)
        if event is None:
            return resumes
        after = self._ledger.readings.apply(reading.uid, event, actor=self._actor)
        level = logging.WARNING if after.state in _STUCK else logging.INFO
        log.log(
            level, "reading %s: %s, it is %s %s", after.uid, type(event).__name__, after.state, after.reason
        )
        if isinstance(event, _TROUBLE):
            self._backoff.delay(reading.uid)
        elif not isinstance(event, Waiting):
            self._backoff.reset(reading.uid)
        return not isinstance(event, (*_TROUBLE, Waiting))

    def _observe(self, reading: Reading) -> Event | None:
        """What the instruction brought, or what hindered it."""

        def on_refusal(reason: str) -> Event | None:
            self._backoff.delay(reading.uid)
            return waiting(reading.reason, reason)

        instruction = next_reading_instruction(reading)
        return observed(lambda: self._steps.take(instruction, reading), f"reading {reading.uid}", on_refusal)
