"""What the rules of release are asked about, from ledger and spool."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Sequence

from apsdm_bluesky.config import ArchiveConfig

from ._ledger import Ledger
from ._local_copy import LocalCopy
from ._reading import Purpose
from ._record import Record
from ._release_rules import Verdict, verdict
from ._requests import Requests
from ._runs import RunEntry

_READ_BEGINS, _READ_ENDS = "ReadAccepted", "ReadBack"


class Verdicts:
    """Whether runs may be released, as things stand when this is made.

    Parameters
    ----------
    requests
        Has looked at the spool.
    """

    def __init__(self, ledger: Ledger, requests: Requests, config: ArchiveConfig) -> None:
        self._ledger = ledger
        self._config = config
        self._analyses: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for raw, uid in requests.unsettled_analyses():
            self._analyses[raw].append((uid, "not asked for yet"))
        for entry in ledger.runs.unverified_analyses():
            self._analyses[str(entry.raw_uid)].append((entry.uid, entry.state))

    def of(self, entry: RunEntry) -> Verdict:
        """On a run that somebody may want to release."""
        return verdict(
            entry,
            self._ledger.bundles_of(entry.uid),
            self._config,
            now=time.time(),
            analyses=self._analyses.get(entry.uid, ()),
            restores=self._restores(entry.uid),
        )

    def still(self, entry: RunEntry) -> Verdict:
        """On a run whose release was asked for."""
        return self.of(dataclasses.replace(entry, local=LocalCopy.HELD, local_reason=""))

    def _restores(self, uid: str) -> list[str]:
        """The jobs that bring the run's files back to their places."""
        readings = self._ledger.readings.of_run(uid)
        here = [one for one in readings if one.purpose is Purpose.RESTORE and one.target is None]
        return list(dict.fromkeys(one.job for one in here if not one.ended))


def restore_estimate(ledger: Ledger, bundles: Sequence[Record], staging_s: float) -> float | None:
    """How long reading `bundles` back takes [s]: as long as their last reading, and the tape's delay.

    Returns
    -------
    None where they were never read back.
    """
    seconds = [_last_reading(ledger, record) for record in bundles]
    known = [value for value in seconds if value is not None]
    return staging_s + sum(known) if known and len(known) == len(seconds) else None


def _last_reading(ledger: Ledger, record: Record) -> float | None:
    """How long the last complete reading of a bundle took [s], as its history tells."""
    begun = taken = None
    for entry in ledger.history(record.uid):
        if entry.event == _READ_BEGINS:
            begun = entry.time
        elif entry.event == _READ_ENDS and begun is not None:
            taken, begun = max(entry.time - begun, 0.0), None
    return taken
