"""Run after run for a long time: `make soak [MINUTES=30]`. Every tenth run loses its detector.

Each run's ledger must add up, a run without a fault must be complete, and memory, threads and open files must
not grow. Exit code 1, with what was wrong, where they do not hold.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.config import BeamlineConfig, SimulationConfig
from apsdm_bluesky.model import AcquisitionLedger
from apsdm_bluesky.sim import DetectorProcess, isolate_epics

from ._memory_run import resident_mb

PREFIX = "soak:"
SIMULATION = SimulationConfig(shape=(256, 256))
PERIOD_S = 0.002
FAULT_EVERY = 10
SETTLED_RUNS = 12  # compiled, warmed up, one fault survived: from then on nothing may grow
GROWTH_MB = 100


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process must not lose bit by bit."""

    resident_mb: float
    threads: int
    files: int

    @classmethod
    def now(cls) -> "Resources":
        return cls(resident_mb("VmRSS"), threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))

    def grown_since(self, before: "Resources") -> str:
        """What has grown, in words; empty where nothing has."""
        grown = []
        if self.resident_mb > before.resident_mb + GROWTH_MB:
            grown.append(f"memory from {before.resident_mb:.0f} to {self.resident_mb:.0f} MB")
        if self.threads > before.threads + 2:
            grown.append(f"threads from {before.threads} to {self.threads}")
        if self.files > before.files + 4:
            grown.append(f"open files from {before.files} to {self.files}")
        return ", ".join(grown)


class Beamline:
    """A session, and a detector that can be killed."""

    def __init__(self, home: Path, resources: ExitStack) -> None:
        isolate_epics()
        from apsdm_bluesky import open_session

        self._home = home
        self._detector = DetectorProcess(PREFIX, SIMULATION)
        self._detector.start()
        resources.callback(self._detector.stop)
        config = BeamlineConfig(
            home=home,
            detectors={"det": {"prefix": PREFIX, "stall_timeout_s": 3}},
            reduction={"qmap": {"center": (128, 128), "r_min": 40, "r_max": 120}, "on_overflow": "block"},
        )
        self._session = resources.enter_context(open_session(config))
        self._det = self._session.devices["det"]

    def run(self, frames: int, *, fault: bool) -> AcquisitionLedger:
        """Take a series; with a fault the detector is killed in its middle, and comes back afterwards."""
        from apsdm_bluesky.plans import xpcs_series

        killer = threading.Thread(target=self._kill_at, args=(frames // 2,)) if fault else None
        if killer:
            killer.start()
        self._session.RE(xpcs_series(self._det, frames, acquire_period=PERIOD_S, acquire_time=PERIOD_S))
        if killer:
            killer.join()
            self._detector.start()
            _wait(lambda: self._det.connected, "the restarted detector")
        analysis, ledger = self._session.reducers["det"].last, self._det.frame_ledger
        if analysis is None or ledger is None:
            raise RuntimeError("the run has no analysis, or no ledger")
        _wait(analysis.ended.is_set, "the reduction")
        shutil.rmtree(self._home / "raw")  # the disk is not what is tried here
        return ledger

    def _kill_at(self, frames: int) -> None:
        # A ledger is the last run's: none is there while this run's acquisition goes on.
        _wait(lambda: self._det.frame_ledger is None and self._det.received >= frames, f"{frames} frames")
        self._detector.stop()


def main() -> int:
    """Run until the time is over; say each minute how it goes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as resources:
        beamline = Beamline(Path(folder), resources)
        faults += soak(beamline, end)
    print("\n".join(faults) or "nothing was wrong")
    return int(bool(faults))


def soak(beamline: Beamline, end: float) -> Iterator[str]:
    """Yields what is wrong."""
    frames = taken = 0
    settled: Resources | None = None
    next_line = 0.0
    for number in itertools.count(1):
        fault = number % FAULT_EVERY == 0
        ledger = beamline.run(random.randint(200, 4000), fault=fault)
        frames, taken = frames + ledger.expected, taken + ledger.accepted
        yield from (f"run {number}: {wrong}" for wrong in _wrong(ledger, fault=fault))
        now = Resources.now()
        if number == SETTLED_RUNS:
            settled = now
        if time.monotonic() > next_line:
            print(f"{number} runs, {taken} of {frames} frames, {now}", flush=True)
            next_line = time.monotonic() + 60
        if time.monotonic() > end:
            if settled is None:
                yield f"{number} runs are too few to see whether anything grows"
            elif grown := now.grown_since(settled):
                yield f"after {number} runs: {grown}"
            return


def _wrong(ledger: AcquisitionLedger, *, fault: bool) -> Iterator[str]:
    if ledger.expected != ledger.accepted + ledger.corrupt + ledger.missing:
        yield f"expected is not the sum: {ledger}"
    if ledger.updates != ledger.accepted + ledger.duplicate + ledger.stale + ledger.corrupt:
        yield f"updates is not the sum: {ledger}"
    if not fault and not ledger.complete:
        yield f"frames are missing: {ledger}"
    if fault and ledger.complete:
        yield "the detector was killed, and nothing is missing"


def _wait(condition: Any, what: str, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
