"""The first frames of a process: ``python -m benchmarks._fresh_start FRAMES.npy QMAP THREADS``.

Prints JSON when their g2 is there: seconds of imports, of the correlation, of the read-out.
"""

import json
import sys
import time
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
    times = {"imports": imported - start, "push": pushed - loaded, "read-out": time.perf_counter() - pushed}
    print(json.dumps(times), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
