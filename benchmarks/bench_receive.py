"""Frames of 516 x 1556 uint16 (1.61 MB) over PVAccess from another process: frames/s to a consumer."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ._bench import Bench, Race, Sample, Target
from ._receive_sides import CREDIT, FRAMES, SHAPE, WINDOW

BARE = "bare pvapy callback, one copy"
P4P = "p4p, one copy"


@contextmanager
def bench() -> Iterator[Bench]:
    peers = {BARE: "bare", P4P: "p4p", "bare pvapy callback, untouched": "untouched"}
    rate, cost = partial(measured, "rate"), partial(measured, "cpu")
    races = [
        Race(
            name="receive",
            unit="frames/s",
            ours=partial(rate, "ours"),
            peers={name: partial(rate, side) for name, side in peers.items()},
            targets=[Target(limit=0.95, by="ratio", of=BARE), Target(limit=3, by="ratio", of=P4P)],
        ),
        Race(
            name="receive, cost",
            unit="us CPU of the consumer / frame",
            better="lower",
            ours=partial(cost, "ours"),
            peers={BARE: partial(cost, "bare")},
            targets=[Target(limit=1.2, by="ratio", of=BARE)],
        ),
    ]
    notes = [
        f"{FRAMES} frames of {SHAPE[0]} x {SHAPE[1]} uint16 a sample; {WINDOW * CREDIT} ahead at most",
        "each side in a process of its own with a publisher of its own; its second pass counts",
        "ours: PvaSource, audit, ring, batches to a consumer that looks at one pixel a frame",
    ]
    yield Bench(races=races, packages=("pvapy", "p4p", "numpy"), notes=notes)


def measured(figure: str, side: str) -> Sample:
    """One pass of a side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks._receive_sides", side]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    figures = json.loads(done.stdout)
    return Sample(value=figures[figure], extra={"lost": figures["lost"]})
