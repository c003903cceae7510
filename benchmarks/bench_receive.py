"""Frames of 516 x 1556 uint16 (1.61 MB) over PVAccess from another process: frames/s to a consumer."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger, CorruptFrame, Frame, FrameBatch
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo, Lane, Receiver

from ._bench import Bench, Measure, Race, Sample

if TYPE_CHECKING:
    import pvaccess

CHANNEL = "bench:Image"
SHAPE = (516, 1556)
CREDIT = 16  # frames, as the publisher has it
WINDOW = 4  # number given in advance
QUEUE = (WINDOW + 1) * CREDIT  # frames in the server's queue, 130 MB: more are never on their way
FRAMES = 2000
RING_FRAMES = 160
STALL_S = 30.0

# pvapy 5.6 lets go of a callback without the interpreter's lock: were that the last reference, the process
# would die.
_kept_callbacks: list[object] = []


@contextmanager
def bench() -> Iterator[Bench]:
    isolate_epics()  # before pvaccess is loaded
    with publisher() as feed:
        sides: dict[str, Measure] = {"ours": lambda: ours(feed), "bare": lambda: bare(feed)}
        for side in sides.values():
            side()
        peers = {"bare pvapy callback, one copy": sides["bare"]}
        race = Race(name="receive", unit="frames/s", ours=sides["ours"], peers=peers)
        notes = [f"{FRAMES} frames a sample; {WINDOW * CREDIT} sent at most beyond those that were handled"]
        yield Bench(races=[race], packages=("pvapy", "numpy"), notes=notes)


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

    def consume(self, batch: FrameBatch) -> None:
        self.counts += int(batch.frames[:, 0, 0].sum())

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        pass


def ours(feed: Feed) -> Sample:
    """From the first credit until the consumer has had every frame."""
    from apsdm_bluesky.sources import PvaSource

    lane = Lane(Counter(), "block")
    info = AcquisitionInfo(expected=FRAMES, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    ring_bytes = RING_FRAMES * SHAPE[0] * SHAPE[1] * 2
    receiver = Receiver(info, base_id=feed.base_id, ring_bytes=ring_bytes, lanes=[lane])

    def sink(update: Frame | CorruptFrame) -> None:
        receiver(update)
        if update.unique_id is not None and update.unique_id > feed.base_id:
            feed.handled(update.unique_id)

    source = PvaSource(CHANNEL)
    source.start(sink, queue_size=QUEUE)
    start = time.perf_counter()
    feed.begin()
    feed.end()
    receiver.close()
    lane.join(STALL_S)
    elapsed_s = time.perf_counter() - start
    source.stop()
    return Sample(value=FRAMES / elapsed_s, extra={"lost": FRAMES - lane.fate.done})


def bare(feed: Feed) -> Sample:
    """What pvapy alone needs: a callback that copies each frame into a ring."""
    import pvaccess

    ring = np.empty((RING_FRAMES, SHAPE[0] * SHAPE[1]), np.uint16)
    live = threading.Event()
    received = 0

    def callback(structure: "pvaccess.PvObject") -> None:
        nonlocal received
        unique_id: Any = structure["uniqueId"]
        if unique_id > feed.base_id:
            np.copyto(ring[received % RING_FRAMES], structure["value"][0]["ushortValue"])
            received += 1
            feed.handled(unique_id)
        live.set()

    _kept_callbacks.append(callback)
    channel = pvaccess.Channel(CHANNEL)
    channel.monitor(callback, f"record[queueSize={QUEUE}]field()")
    if not live.wait(STALL_S):
        raise RuntimeError(f"{CHANNEL} does not answer within {STALL_S:g} s")
    start = time.perf_counter()
    feed.begin()
    feed.end()
    elapsed_s = time.perf_counter() - start
    channel.stopMonitor()
    return Sample(value=FRAMES / elapsed_s, extra={"lost": FRAMES - received})
