"""What is told about a DAQ or an upload, on the command line and on the pages."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from apsdm_bluesky.texts import size_text

from ._daq import Counts, Daq, DaqFile, FileState, Notice
from ._store import DaqStore

PROBLEMS = (FileState.FAILED, FileState.SKIPPED, FileState.VANISHED)
"""Where a file stands that was not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaqReport:
    """A DAQ or an upload, with the first of its files that are not taken or wait.

    Parameters
    ----------
    problems, waiting
        By name; no more of each than was asked for.
    notices
        What happened, the latest last.
    """

    daq: Daq
    problems: Sequence[DaqFile]
    waiting: Sequence[DaqFile]
    notices: Sequence[Notice]

    @classmethod
    def of(cls, store: DaqStore, uid: str, limit: int) -> "DaqReport":
        """The report of one; raises as `store.get`.

        Parameters
        ----------
        limit
            So many files and notices of each kind at most.
        """
        daq = store.get(uid)
        return cls(
            daq=daq,
            problems=store.files(daq.id, states=PROBLEMS, limit=limit),
            waiting=store.files(daq.id, states=(FileState.WAITING,), limit=limit),
            notices=store.notices(daq.id, limit),
        )

    @property
    def more_problems(self) -> int:
        """How many more were not taken than are named."""
        return max(0, not_taken(self.daq.counts) - len(self.problems))

    @property
    def more_waiting(self) -> int:
        """How many more wait than are named."""
        return max(0, self.daq.counts.waiting - len(self.waiting))

    @property
    def rate(self) -> float:
        """Bytes a second on average, from its start to its end or to now."""
        until = time.time() if self.daq.ended is None else self.daq.ended
        return self.daq.counts.bytes / max(until - self.daq.created, 1e-3)


def seen(counts: Counts) -> int:
    """How many files were seen."""
    return counts.waiting + counts.taken + not_taken(counts)


def not_taken(counts: Counts) -> int:
    """How many files will not be taken."""
    return counts.failed + counts.skipped + counts.vanished


def counts_text(counts: Counts) -> str:
    """How many files stand where, in one line; what is none is left out."""
    known = {state: getattr(counts, state) for state in FileState}
    told = ", ".join(f"{number} {state}" for state, number in known.items() if number)
    return f"{told}; {size_text(counts.bytes)} taken" if told else "no file yet"
