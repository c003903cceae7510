"""A PVA server of NTNDArray in a process of its own: ``python -m benchmarks._pva_publisher CHANNEL``.

Each byte on stdin is a credit for `CREDIT` frames: they are sent as fast as they go, and then it waits for
the next. Whoever gives no credit for more than its queue holds loses none. Ends with its input.
"""

import os
import sys

import numpy as np
import pvaccess

SHAPE = (516, 1556)
CREDIT = 16


def main() -> int:
    channel = sys.argv[1]
    server = pvaccess.PvaServer()
    server.addRecord(channel, pvaccess.NtNdArray(), None)
    server.start()
    ny, nx = SHAPE
    image = np.random.default_rng(1).poisson(0.1, ny * nx).astype(np.uint16)
    frame = pvaccess.NtNdArray()
    frame["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in (nx, ny)]
    frame["value"] = {"ushortValue": image}
    print("ready", flush=True)
    number = 0
    while os.read(0, 1):
        for _ in range(CREDIT):
            number += 1
            frame["uniqueId"] = number
            server.update(channel, frame)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
