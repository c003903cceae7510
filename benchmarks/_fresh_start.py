"""The first frames of a process: ``python -m benchmarks._fresh_start FRAMES.npy QMAP THREADS``.

Prints JSON when their g2 is there: seconds for imports, to load the frames, to push them, to read g2 out.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path


def main() -> int:
    start = time.perf_counter()
    import numpy as np

    from apsdm_bluesky.formats import read_qmap
    from apsdm_bluesky.model import FrameBatch
    from apsdm_bluesky.reduction import MultiTau
    from apsdm_bluesky.streaming import Threads

    imported = time.perf_counter()
    frames, qmap = np.load(sys.argv[1]), read_qmap(Path(sys.argv[2]))
    loaded = time.perf_counter()
    with Threads(int(sys.argv[3])) as workers:
        reduction = MultiTau(qmap, workers=workers)
        reduction.push(FrameBatch(frames=frames, indices=np.arange(len(frames))))
        pushed = time.perf_counter()
        reduction.result()
    end = time.perf_counter()
    steps = zip(
        ("imports", "loading", "push", "read-out"),
        pairwise((start, imported, loaded, pushed, end)),
        strict=True,
    )
    print(json.dumps({name: after - before for name, (before, after) in steps}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
