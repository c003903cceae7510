"""Memory of a dense multi-tau reduction: ``python -m benchmarks._multitau_memory FRAMES THREADS``.

Prints JSON: peak of the process's resident memory while it correlates and reads g2 out, less the frames [MB].
"""

import json
import sys
from pathlib import Path

from apsdm_bluesky.reduction import MultiTau
from apsdm_bluesky.streaming import Threads

from ._detectors import BATCH, LAMBDA_750K, frame_batches
from ._memory_run import resident_mb


def main() -> int:
    count, threads = map(int, sys.argv[1:])
    qmap, frames = LAMBDA_750K.qmap, LAMBDA_750K.frames(BATCH)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    with Threads(threads) as workers:
        reduction = MultiTau(qmap, workers=workers)
        for batch in frame_batches(frames, count):
            reduction.push(batch)
        reduction.result()
    print(json.dumps(resident_mb("VmHWM") - frames.nbytes / 2**20))
    return 0


if __name__ == "__main__":
    sys.exit(main())
