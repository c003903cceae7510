"""A subscription stopped in mid-stream, again and again; test_pva.py runs it in a process of its own."""

import sys
import threading
import tracemalloc

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import DetectorProcess, isolate_epics

isolate_epics()
# With it whatever touches Python objects without the interpreter's lock ends the process for sure.
tracemalloc.start()


def main(times):
    with DetectorProcess("stop:", SimulationConfig(shape=(32, 32))):
        import epics

        from apsdm_bluesky.sources import PvaSource  # loads EPICS: after `isolate_epics`

        records = {"ImageMode": 2, "AcquirePeriod": 0.001, "AcquireTime": 0.0005, "ArrayCallbacks": 1}
        for record, value in records.items():
            epics.caput(f"stop:cam1:{record}", value, wait=True)
        epics.caput("stop:Pva1:EnableCallbacks", 1, wait=True)
        source = PvaSource("stop:Pva1:Image")
        epics.caput("stop:cam1:Acquire", 1)
        for _ in range(times):
            came = threading.Semaphore(0)
            source.start(lambda _, came=came: came.release(), queue_size=10)
            for _ in range(10):
                if not came.acquire(timeout=20):
                    sys.exit("no frames come")
            source.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
