"""Memory beyond the idle session and the ring, over a run ten times longer than the ring."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ._bench import Bench, Race, Sample, Target
from ._memory_run import FRAMES, RING_MB, SHAPE

LIMIT_MB = 300


@contextmanager
def bench() -> Iterator[Bench]:
    race = Race(
        name="memory",
        unit="MB beyond idle + ring",
        better="lower",
        ours=beyond,
        peers={},
        targets=[Target(limit=LIMIT_MB, by="every sample")],
    )
    note = (
        f"{FRAMES} frames of {SHAPE[0]} x {SHAPE[1]} uint16, ring {RING_MB} MB; stored and reduced meanwhile"
    )
    yield Bench(races=[race], packages=("pvapy", "zarr", "numba"), repeats=3, notes=[note])


def beyond() -> Sample:
    """A session in a process of its own."""
    command = [sys.executable, "-m", "benchmarks._memory_run"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    told = json.loads(done.stdout.splitlines()[-1])
    extra = {key: told[key] for key in ("idle", "peak", "missing")}
    return Sample(value=max(0.0, told["peak"] - told["idle"] - told["ring"]), extra=extra)
