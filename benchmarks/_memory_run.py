"""One session, one run ten times longer than its ring: ``python -m benchmarks._memory_run``.

Prints JSON: idle and peak [MB resident, the session open and during the run], ring [MB], frames, missing.
"""

import json
import sys
import tempfile
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig

RING_MB = 64
SHAPE = (256, 256)
FRAMES = 10 * RING_MB * 2**20 // (SHAPE[0] * SHAPE[1] * 2)
PERIOD_S = 0.002


def main() -> int:
    from apsdm_bluesky import open_session
    from apsdm_bluesky.plans import xpcs_series

    with tempfile.TemporaryDirectory() as folder:
        config = BeamlineConfig(
            home=Path(folder),
            detectors={"det": {"prefix": "memory:", "ring_mb": RING_MB}},
            simulation={"shape": SHAPE},
        )
        with open_session(config) as session:
            idle = resident_mb("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
            det = session.devices["det"]
            session.RE(xpcs_series(det, FRAMES, acquire_period=PERIOD_S, acquire_time=PERIOD_S))
            analysis, ledger = session.reducers["det"].last, det.frame_ledger
            if analysis is None or ledger is None or not analysis.ended.wait(60):
                raise RuntimeError("the run has no analysis, or no ledger")
            peak = resident_mb("VmHWM")
    print(
        json.dumps({"idle": idle, "peak": peak, "ring": RING_MB, "frames": FRAMES, "missing": ledger.missing})
    )
    return 0


def resident_mb(field: str) -> float:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    sys.exit(main())
