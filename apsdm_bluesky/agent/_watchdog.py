"""Tells of work that does not move: a task that never ends, a person who was never told."""

import logging
import time
from collections.abc import Sequence

from apsdm_bluesky.archive import WORKING, Ledger, Record, State

log = logging.getLogger(__name__)

_LOOK_S = 600.0
_TELL_AGAIN_S = 86400.0


class Watchdog:
    """Logs bundles that have stood in one state for `stuck_s` seconds, each once a day."""

    def __init__(self, ledger: Ledger, stuck_s: float) -> None:
        self._ledger = ledger
        self._stuck_s = stuck_s
        self._next = 0.0
        self._told: dict[str, float] = {}

    def look(self) -> None:
        """Look, at most every ten minutes."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_S
        for record in stuck_bundles(self._ledger, self._stuck_s):
            if now - self._told.get(record.uid, -_TELL_AGAIN_S) >= _TELL_AGAIN_S:
                self._told[record.uid] = now
                log.warning("%s", stuck_text(record))


def stuck_bundles(ledger: Ledger, stuck_s: float) -> Sequence[Record]:
    """The bundles on which nothing was observed for so long, and which are not at their end."""
    before = time.time() - stuck_s
    return [record for record in ledger.list(*WORKING, State.QUARANTINED) if record.updated < before]


def stuck_text(record: Record) -> str:
    """What stands still, since when, and why."""
    since = (time.time() - record.updated) / 3600
    advice = record.reason or f"nothing was heard of task {record.task_id or 'none'}; see the agent's log"
    return f"bundle {record.uid}: {record.state} for {since:.0f} h: {advice}"
