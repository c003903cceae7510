"""Drills: random bundles are read back as for a restore, and what that says of all the others."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from apsdm_bluesky.errors import ApsdmError

from ._ledger import Ledger
from ._reading import Purpose, Reading, ReadingState
from ._record import Record, State
from ._restore import request_readings

_CONFIDENCE = 0.95
_LOOK_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """What drills found.

    Parameters
    ----------
    checked
        Bundles that were read to a verdict.
    bad
        Those of them whose content was wrong or gone.
    share_below
        The upper end of the one-sided 95 % confidence interval of the share of bad bundles (Clopper and
        Pearson, Biometrika 26, 404, 1934); it takes the bundles for a random sample of a large archive.
    """

    checked: int
    bad: int
    share_below: float


def request_drill(ledger: Ledger, bundles: int, *, seed: int | None = None, actor: str) -> str:
    """Ask that so many random verified bundles (all, where there are fewer) be read back.

    Parameters
    ----------
    seed
        The same one chooses the same bundles of the same archive; None: another choice each time.

    Returns
    -------
    The job's id.

    Raises
    ------
    ApsdmError
        No bundle is verified.
    """
    chosen = _some(ledger, bundles, seed)
    if not chosen:
        raise ApsdmError("no bundle is verified yet; a drill reads verified ones")
    return request_readings(ledger, chosen, Purpose.DRILL, actor=actor)


def drill_report(ledger: Ledger, job: str | None = None) -> DrillReport:
    """What the drills of a job found, or those of all time."""
    drills = ledger.readings.list(purpose=Purpose.DRILL) if job is None else ledger.readings.job(job)
    return _report(drills)


def share_below(checked: int, bad: int) -> float:
    """The upper 95 % bound of the share of bad ones where `bad` of `checked` were; 1 where nothing was."""
    if bad >= checked:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(_CONFIDENCE, bad + 1, checked - bad))


class DrillSchedule:
    """When the agent drills by itself: what is due is told by the ledger, a restart changes nothing.

    Parameters
    ----------
    every_s
        Time between drills [s]; 0: none.
    bundles
        How many one reads back.
    """

    def __init__(self, ledger: Ledger, *, every_s: float, bundles: int, actor: str) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._bundles = bundles
        self._actor = actor
        self._next = 0.0

    def look(self) -> str | None:
        """Ask for a drill where one is due; returns its job's id."""
        now = time.time()
        if not self._every_s or now < self._next:
            return None
        self._next = min(self._due(), now + max(self._every_s, _LOOK_AGAIN_S))
        if now < self._next:
            return None
        self._next = now + self._every_s
        chosen = _some(self._ledger, self._bundles)
        return request_readings(self._ledger, chosen, Purpose.DRILL, actor=self._actor) if chosen else None

    def _due(self) -> float:
        """A period after the last drill, or the first bundle; not yet where none is, or a drill goes on."""
        drills = self._ledger.readings.list(purpose=Purpose.DRILL)
        verified = [record.verified for record in self._ledger.list(State.VERIFIED) if record.verified]
        if not verified or not all(drill.ended for drill in drills):
            return time.time() + _LOOK_AGAIN_S
        since = max(drill.created for drill in drills) if drills else min(verified)
        return since + self._every_s


def _some(ledger: Ledger, number: int, seed: int | None = None) -> Sequence[Record]:
    """Verified bundles at random."""
    verified = sorted(ledger.list(State.VERIFIED), key=lambda record: record.uid)
    count = min(number, len(verified))
    chosen = np.random.default_rng(seed).choice(len(verified), count, replace=False) if count else ()
    return [verified[i] for i in chosen]


def _report(drills: Iterable[Reading]) -> DrillReport:
    states = [drill.state for drill in drills]
    bad = states.count(ReadingState.FAILED)
    checked = bad + states.count(ReadingState.CHECKED)
    return DrillReport(checked=checked, bad=bad, share_below=share_below(checked, bad))
