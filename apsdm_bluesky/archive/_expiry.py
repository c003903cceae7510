"""Bundles that the destination may soon remove."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from apsdm_bluesky.config import ArchiveConfig, BeamlineConfig

from ._ledger import Ledger
from ._record import Record, State
from ._release_rules import DAY_S, date, retention_end

log = logging.getLogger(__name__)

DELIVERED = (State.COPIED, State.ON_TAPE, State.VERIFIED)
"""The states of bundles that the destination has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """A bundle, and when its retention ends [s since the Unix epoch], counted from when it was planned."""

    bundle: Record
    ends: float


def expiring(bundles: Iterable[Record], config: ArchiveConfig, *, now: float) -> list[Expiring]:
    """Delivered bundles whose retention ends within `archive.expiry_warning_days`, or has; soonest first."""
    soon = now + config.expiry_warning_days * DAY_S
    found = [
        Expiring(bundle=record, ends=end)
        for record in bundles
        if record.state in DELIVERED and (end := retention_end(record, config)) is not None and end <= soon
    ]
    return sorted(found, key=lambda one: (one.ends, one.bundle.uid))


class ExpiryWatch:
    """Tells the log once a day of bundles whose retention ends."""

    def __init__(self, ledger: Ledger, config: ArchiveConfig) -> None:
        self._ledger = ledger
        self._config = config
        self._due = time.monotonic()

    def look(self) -> None:
        """Tell what is to be told, if a day has passed."""
        if time.monotonic() < self._due:
            return
        found = expiring(self._ledger.list(*DELIVERED), self._config, now=time.time())
        self._due = time.monotonic() + DAY_S
        if found:
            log.warning("%s", expiry_notice(found))


def expiry_notice(found: list[Expiring]) -> str:
    """One line that tells of them all."""
    first = found[0]
    return (
        f"the tape's retention of {len(found)} bundles ends soon, first on {date(first.ends)}; "
        "have it prolonged; apsdm archive ls --expiring tells all"
    )


def expiring_of(config: BeamlineConfig) -> list[Expiring]:
    """Those of a beamline's archive; none where there is no archive yet. Errors as of `Ledger`."""
    folder = config.folders.archive
    if not folder.is_dir():
        return []
    ledger = Ledger(folder, config.archive.database)
    try:
        return expiring(ledger.list(*DELIVERED), config.archive, now=time.time())
    finally:
        ledger.close()
