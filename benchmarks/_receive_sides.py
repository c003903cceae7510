"""Consumers of the publisher's frames, one a process: ``python -m benchmarks._receive_sides NAME``.

Apart, so that they share no heap: what it had learned of another side's buffers doubled p4p's rate.
Prints JSON: rate [frames/s], cpu [us/frame, of this process], lost [frames].
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, FrameBatch
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo, limit_arenas

from ._feed import Feed, Taken, over_p4p, over_pvapy, publisher, through_lane

CHANNEL = "bench:Image"
SHAPE = (516, 1556)
CREDIT = 16  # frames, as the publisher has it
WINDOW = 4  # number given in advance: with them 130 MB in the server's queue
FRAMES = 2000
RING_FRAMES = 160
RING_BYTES = RING_FRAMES * SHAPE[0] * SHAPE[1] * 2
INFO = AcquisitionInfo(expected=FRAMES, frame_shape=SHAPE, dtype="uint16", period_s=0.0)


def main() -> int:
    """Take all frames twice; the first time everything is new."""
    isolate_epics()  # before pvaccess is loaded
    side = {"ours": ours, "bare": bare, "p4p": p4p, "untouched": untouched}[sys.argv[1]]
    with frames() as feed:
        side(feed)
        taken = side(feed)
    rate, cpu = FRAMES / taken.wall_s, 1e6 * taken.cpu_s / FRAMES
    print(json.dumps({"rate": rate, "cpu": cpu, "lost": taken.lost}))
    return 0


@contextmanager
def frames() -> Iterator[Feed]:
    """The publisher of Lambda frames."""
    with publisher("_pva_publisher", CHANNEL, messages=FRAMES, credit=CREDIT, window=WINDOW) as feed:
        yield feed


class Counter:
    """A trivial consumer: looks at one pixel of every frame."""

    name = "counter"

    def __init__(self) -> None:
        self.counts = 0

    def begin(self, info: AcquisitionInfo) -> None:
        pass

    def consume(self, batch: Batch) -> None:
        if isinstance(batch, FrameBatch):
            self.counts += int(batch.frames[:, 0, 0].sum())

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        pass


def ours(feed: Feed) -> Taken:
    limit_arenas()  # as a session does
    return through_lane(feed, Counter(), INFO, ring_bytes=RING_BYTES)


def bare(feed: Feed) -> Taken:
    """What pvapy alone needs: a callback that copies each frame into a ring."""
    ring = preallocated()

    def take(number: int, structure: Any) -> None:
        np.copyto(ring[number % RING_FRAMES], structure["value"][0]["ushortValue"])

    return over_pvapy(feed, take)


def untouched(feed: Feed) -> Taken:
    """A callback that takes the image and does nothing with it."""
    return over_pvapy(feed, lambda _number, structure: structure["value"][0]["ushortValue"])


def p4p(feed: Feed) -> Taken:
    """The other Python client, with the same copy."""
    ring = preallocated()

    def take(number: int, structure: Any) -> None:
        np.copyto(ring[number % RING_FRAMES], structure["value"])

    return over_p4p(feed, take)


def preallocated() -> "np.ndarray[Any, np.dtype[np.uint16]]":
    """A ring whose memory the system has given already, as ours."""
    ring = np.empty((RING_FRAMES, SHAPE[0] * SHAPE[1]), np.uint16)
    ring.fill(0)
    return ring


if __name__ == "__main__":
    sys.exit(main())
