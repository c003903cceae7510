"""scikit-beam as a peer."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bench import Measure, Sample
from ._peer_environment import Peer

PEER = Peer(
    name="scikit-beam",
    version="0.0.27",
    installs=[[["scikit-beam==0.0.27"]]],
    check="from skbeam.core.correlation import lazy_one_time",
)
_FRAMES = 256  # it takes seconds for these; its rate does not depend on their number
_NOTE = (
    f"{PEER.title}, lazy_one_time, in a process of its own, {_FRAMES} frames; its delays and "
    "normalisation differ, and it gives g2 after every frame"
)

# Runs in the other environment. It is warmed up, then answers each line of input with a rate.
_SCRIPT = """
import sys, time
import numpy as np
from skbeam.core.correlation import lazy_one_time
frames, labels = np.load(sys.argv[1]), np.load(sys.argv[2])
levels, buffers = int(sys.argv[3]), int(sys.argv[4])
def run(part):
    for result in lazy_one_time(part, levels, buffers, labels):
        pass
    return result
run(frames[:16])
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    run(frames)
    print(len(frames) / (time.perf_counter() - start), flush=True)
"""


@contextmanager
def peer(
    frames: NDArray[Any], labels: NDArray[np.int32], *, buffers: int
) -> Iterator[tuple[Measure | None, str]]:
    """scikit-beam's `lazy_one_time` on the first of these frames, or None where there is none; and a note."""
    problem = PEER.install()
    if problem:
        yield None, f"{PEER.title} could not be installed, so it is not measured: {problem}"
        return
    levels = int(np.log2(_FRAMES / buffers)) + 1
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "frames.npy", Path(folder) / "labels.npy"]
        np.save(files[0], frames[:_FRAMES])
        np.save(files[1], labels)
        with PEER.process(_SCRIPT, *map(str, files), str(levels), str(buffers)) as process:
            yield lambda: Sample(value=float(process.ask())), _NOTE
