"""A PVA server of packed events in a process of its own: ``python -m benchmarks._event_publisher CHANNEL``.

Each byte on stdin is a credit for one message: it is sent at once. Ends with its input.
"""

import os
import sys

import numpy as np
import pvaccess
from numpy.typing import NDArray

SHAPE = (512, 1024)  # Rigaku 500K
EVENTS = 2500  # a frame: 20 kB
FRAMES = 1000  # a message: 20 MB
DIFFERENT = 4  # messages, sent in turn: too large for a cache


def messages() -> list[NDArray[np.uint64]]:
    """Words as a detector sorts them, by frame and pixel; one photon each, two in every eighth."""
    random = np.random.default_rng(1)
    frame = np.repeat(np.arange(FRAMES, dtype=np.uint64), EVENTS)
    counts = np.where(np.arange(FRAMES * EVENTS) % 8, 1, 2).astype(np.uint64)
    pixels = [np.sort(random.integers(0, SHAPE[0] * SHAPE[1], (FRAMES, EVENTS))) for _ in range(DIFFERENT)]
    return [
        frame << np.uint64(40) | some.ravel().astype(np.uint64) << np.uint64(16) | counts for some in pixels
    ]


def main() -> int:
    channel = sys.argv[1]
    server = pvaccess.PvaServer()
    server.addRecord(channel, pvaccess.NtNdArray(), None)
    server.start()
    updates = [_update(words) for words in messages()]
    print("ready", flush=True)
    number = 0
    while os.read(0, 1):
        update = updates[number % DIFFERENT]
        number += 1
        update["uniqueId"] = number
        server.update(channel, update)
    server.stop()
    return 0


def _update(words: NDArray[np.uint64]) -> pvaccess.NtNdArray:
    update = pvaccess.NtNdArray()
    update["dimension"] = [pvaccess.PvDimension(len(words), 0, len(words), 1, False)]
    update["value"] = {"ulongValue": words}
    attributes = {"FirstFrame": 0, "NumFrames": FRAMES, "SensorX": SHAPE[1], "SensorY": SHAPE[0]}
    update["attribute"] = [
        pvaccess.NtAttribute(name, pvaccess.PvInt(value)) for name, value in attributes.items()
    ]
    return update


if __name__ == "__main__":
    sys.exit(main())
