"""Consumers of the publisher's frames, one a process: ``python -m benchmarks._receive_sides NAME``.

Apart, so that they share no heap: what it had learned of another side's buffers doubled p4p's rate.
Prints JSON: rate [frames/s], cpu [us/frame, of this process], lost [frames].
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, CorruptFrame, FrameBatch
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Lane, Receiver

if TYPE_CHECKING:
    import pvaccess

    from apsdm_bluesky.sources import Message

CHANNEL = "bench:Image"
SHAPE = (516, 1556)
CREDIT = 16  # frames, as the publisher has it
WINDOW = 4  # number given in advance
QUEUE = (WINDOW + 1) * CREDIT  # frames in the server's queue, 130 MB: more are never on their way
FRAMES = 2000
RING_FRAMES = 160
STALL_S = 30.0

Figures = tuple[float, float, int]  # wall time [s], CPU time [s], frames lost

# pvapy 5.6 lets go of a callback without the interpreter's lock: were that the last reference, the process
# would die.
_kept_callbacks: list[object] = []


def main() -> int:
    """Take all frames twice; the first time everything is new."""
    isolate_epics()  # before pvaccess is loaded
    side = {"ours": ours, "bare": bare, "p4p": p4p, "untouched": untouched}[sys.argv[1]]
    with publisher() as feed:
        side(feed)
        wall_s, cpu_s, lost = side(feed)
    print(json.dumps({"rate": FRAMES / wall_s, "cpu": 1e6 * cpu_s / FRAMES, "lost": lost}))
    return 0


class Clock:
    """Wall and CPU time between its making and `stop`."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, lost: int) -> Figures:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu, lost


class Feed:
    """The publisher as a consumer sees it: give number, know when the last frame has been handled."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._given = self._base = 0
        self._done = threading.Event()
        self.base_id = 0

    def begin(self) -> None:
        """Start sending `FRAMES` frames, numbered from `base_id` + 1."""
        self._done.clear()
        self._give(WINDOW)

    def handled(self, unique_id: int) -> None:
        """The frame of this number needs no room any more."""
        ahead = (unique_id - self.base_id) // CREDIT + WINDOW
        self._give(min(ahead, FRAMES // CREDIT) - self._given)
        if unique_id == self.base_id + FRAMES:
            self._done.set()

    def end(self) -> None:
        """Wait for the last frame."""
        if not self._done.wait(STALL_S):
            raise RuntimeError(f"the last of {FRAMES} frames did not come within {STALL_S:g} s")
        self.base_id += FRAMES
        self._given = 0

    def _give(self, number: int) -> None:
        if number > 0 and self._process.stdin is not None:
            self._given += number
            self._process.stdin.write(b"." * number)
            self._process.stdin.flush()


@contextmanager
def publisher() -> Iterator[Feed]:
    command = [sys.executable, "-m", "benchmarks._pva_publisher", CHANNEL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the publisher ended at its start; what it wrote stands above")
        yield Feed(process)


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


def ours(feed: Feed) -> Figures:
    from apsdm_bluesky.sources import PvaSource

    lane = Lane(Counter(), "block")
    info = AcquisitionInfo(expected=FRAMES, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    ring_bytes = RING_FRAMES * SHAPE[0] * SHAPE[1] * 2
    receiver = Receiver(info, base_id=feed.base_id, pool=BlockPool(ring_bytes, info), lanes=[lane])

    def sink(update: "Message | CorruptFrame") -> None:
        receiver(update)
        if update.unique_id is not None and update.unique_id > feed.base_id:
            feed.handled(update.unique_id)

    source = PvaSource(CHANNEL)
    source.start(sink, queue_size=QUEUE)
    clock = Clock()
    feed.begin()
    feed.end()
    receiver.close()
    lane.join(STALL_S)
    figures = clock.stop(FRAMES - lane.fate.done)
    source.stop()
    return figures


def bare(feed: Feed) -> Figures:
    """What pvapy alone needs: a callback that copies each frame into a ring."""
    ring = preallocated()
    return over_pvapy(feed, lambda number, image: np.copyto(ring[number % RING_FRAMES], image))


def preallocated() -> "np.ndarray[Any, np.dtype[np.uint16]]":
    """A ring whose memory the system has given already, as ours."""
    ring = np.empty((RING_FRAMES, SHAPE[0] * SHAPE[1]), np.uint16)
    ring.fill(0)
    return ring


def untouched(feed: Feed) -> Figures:
    """A callback that looks at the number only."""
    return over_pvapy(feed, lambda _number, _image: None)


def over_pvapy(feed: Feed, take: Callable[[int, Any], None]) -> Figures:
    import pvaccess

    live = threading.Event()
    received = 0

    def callback(structure: "pvaccess.PvObject") -> None:
        nonlocal received
        unique_id: Any = structure["uniqueId"]
        if unique_id > feed.base_id:
            take(received, structure["value"][0]["ushortValue"])
            received += 1
            feed.handled(unique_id)
        live.set()

    _kept_callbacks.append(callback)
    channel = pvaccess.Channel(CHANNEL)
    channel.monitor(callback, f"record[queueSize={QUEUE}]field()")
    if not live.wait(STALL_S):
        raise RuntimeError(f"{CHANNEL} does not answer within {STALL_S:g} s")
    clock = Clock()
    feed.begin()
    feed.end()
    figures = clock.stop(FRAMES - received)
    channel.stopMonitor()
    return figures


def p4p(feed: Feed) -> Figures:
    """The other Python client."""
    from p4p.client.thread import Context

    ring = preallocated()
    live = threading.Event()
    received = 0

    def callback(structure: Any) -> None:
        nonlocal received
        unique_id = structure["uniqueId"]
        if unique_id > feed.base_id:
            np.copyto(ring[received % RING_FRAMES], structure["value"])
            received += 1
            feed.handled(unique_id)
        live.set()

    with Context("pva", nt=False) as context:
        subscription = context.monitor(CHANNEL, callback, request=f"record[queueSize={QUEUE}]")
        if not live.wait(STALL_S):
            raise RuntimeError(f"{CHANNEL} does not answer p4p within {STALL_S:g} s")
        clock = Clock()
        feed.begin()
        feed.end()
        figures = clock.stop(FRAMES - received)
        subscription.close()
    return figures


if __name__ == "__main__":
    sys.exit(main())
