"""Follow what the agent reads back from the archive, until it ends."""

import math
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apsdm_bluesky.agent import agent_runs
from apsdm_bluesky.archive import Ledger, Reading, ReadingState, progress_of
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.texts import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S = 0.3
_LOOK_FOR_AGENT_S = 5.0


def follow_job(
    config: BeamlineConfig, ledger: Ledger, job: str, *, quiet: bool, timeout_s: float | None = None
) -> Sequence[Reading]:
    """The job's readings when all have ended or need a person; what they do is told unless `quiet`.

    Raises
    ------
    ApsdmError
        No agent runs, or it took longer than `timeout_s`; the request is kept.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    told: dict[str, str] = {}
    looked = 0.0
    with going_on(job):
        while True:
            readings = ledger.readings.job(job)
            if all(reading.ended or reading.needs_person for reading in readings):
                return readings
            if time.monotonic() - looked > _LOOK_FOR_AGENT_S:
                check_agent(config, job)
                looked = time.monotonic()
            if time.monotonic() > deadline:
                raise ApsdmError(f"job {job} takes longer than {timeout_s:g} s; the agent goes on with it")
            for reading in () if quiet else readings:
                _tell(config, reading, told)
            time.sleep(_POLL_S)


def check_agent(config: BeamlineConfig, job: str) -> None:
    """Refuse to wait for nobody."""
    if not agent_runs(config):
        raise ApsdmError(
            f"job {job} is kept, but no agent runs here to do it; start one with 'apsdm agent' or 'apsdm up'"
        )


def check_ends(readings: Sequence[Reading]) -> None:
    """Raise ApsdmError where a reading did not end well; the message is its reason."""
    bad = [one for one in readings if one.state in (ReadingState.FAILED, ReadingState.PARKED)]
    given_up = [one for one in readings if one.state is ReadingState.CANCELLED]
    if not bad and len(given_up) == len(readings):
        bad = given_up
    if bad:
        raise ApsdmError(f"bundle {bad[0].bundle}: {bad[0].state}: {bad[0].reason}")


@contextmanager
def going_on(job: str) -> "Iterator[None]":
    """Ctrl-C ends the waiting, not the job."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"apsdm: the agent goes on with job {job}", file=sys.stderr)
        raise


def _tell(config: BeamlineConfig, reading: Reading, told: dict[str, str]) -> None:
    """One line where something changed: on a terminal with the bytes, in a log without."""
    stage = progress_of(config.folders.archive).read(reading.uid)
    line = f"bundle {reading.bundle[:24]}: {reading.state} {reading.reason}".rstrip()
    if stage is not None and sys.stdout.isatty():
        of = f" of {size_text(stage.total)}" if stage.total else ""
        line += f", {stage.doing} {size_text(stage.done)}{of}"
    if told.get(reading.uid) != line:
        told[reading.uid] = line
        print(line, flush=True)
