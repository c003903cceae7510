"""Packed events over PVA, 2,500 a frame (20 kB), 1,000 frames a message, received and reduced: GB/s."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, CorruptFrame
from apsdm_bluesky.reduction import FrameStats, QMap, Saxs
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Lane, Receiver

from ._bench import Bench, Race, Sample, Target

if TYPE_CHECKING:
    import pvaccess

    from apsdm_bluesky.sources import Message, PvaSource

CHANNEL = "bench:Events"
MESSAGES = 100  # a sample: 2 GB
WINDOW = 4  # messages sent beyond those that were handled
RING_BYTES = 256 * 2**20
STALL_S = 30.0

# pvapy 5.6 lets go of a callback without the interpreter's lock: were that the last reference, the process
# would die.
_kept_callbacks: list[object] = []


@contextmanager
def bench() -> Iterator[Bench]:
    isolate_epics()  # before pvaccess is loaded, and with it the publisher's module
    from apsdm_bluesky.sources import PvaSource

    from . import _event_publisher as sent

    words = sent.messages()
    qmap = QMap.rings(sent.SHAPE, (512.0, 256.0), dynamic_bins=20, static_per_dynamic=5, r_max=500)
    source = PvaSource(CHANNEL)  # one for all samples, as a device has it
    with publisher() as feed:
        sides = {"ours": lambda: ours(feed, source, words, sent, qmap), "bare": lambda: bare(feed, words)}
        for side in sides.values():
            side()  # compiles, too
        size = sum(part.nbytes for part in words) / len(words)
        race = Race(
            name="from PVA, received and reduced",
            unit="GB/s",
            ours=sides["ours"],
            peers={"bare pvapy callback, one copy": sides["bare"]},
            targets=[Target(limit=1.0)],
        )
        note = (
            f"{sent.SHAPE[0]} x {sent.SHAPE[1]} pixels, {len(qmap.q)} dynamic bins; {MESSAGES} messages of "
            f"{size / 1e6:.0f} MB a sample, {WINDOW} sent at most beyond those that were handled"
        )
        yield Bench(races=[race], packages=("pvapy", "numpy", "numba"), notes=[note])


class Feed:
    """The publisher as a consumer sees it: give credit, know when the last message has been handled."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._done = threading.Event()
        self.base_id = 0

    def begin(self) -> None:
        """Start sending `MESSAGES` messages, numbered from `base_id` + 1."""
        self._done.clear()
        self._give(WINDOW)

    def handled(self, unique_id: int) -> None:
        """The message of this number needs no room any more."""
        if unique_id <= self.base_id + MESSAGES - WINDOW:
            self._give(1)
        if unique_id == self.base_id + MESSAGES:
            self._done.set()

    def end(self) -> None:
        """Wait for the last message."""
        if not self._done.wait(STALL_S):
            raise RuntimeError(f"the last of {MESSAGES} messages did not come within {STALL_S:g} s")
        self.base_id += MESSAGES

    def _give(self, number: int) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(b"." * number)
            self._process.stdin.flush()


@contextmanager
def publisher() -> Iterator[Feed]:
    command = [sys.executable, "-m", "benchmarks._event_publisher", CHANNEL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the publisher ended at its start; what it wrote stands above")
        yield Feed(process)


class Reducer:
    """The consumer: sum image, I(t) and I(q, t)."""

    name = "events"

    def __init__(self, qmap: QMap) -> None:
        self.saxs, self.stats = Saxs(qmap), FrameStats(qmap)

    def begin(self, info: AcquisitionInfo) -> None:
        pass

    def consume(self, batch: Batch) -> None:
        self.saxs.push(batch)
        self.stats.push(batch)

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        pass


def ours(feed: Feed, source: "PvaSource", words: list[NDArray[np.uint64]], sent: Any, qmap: QMap) -> Sample:
    """From the first credit until the last frame is reduced."""
    reducer = Reducer(qmap)
    lane = Lane(reducer, "block")
    frames = MESSAGES * sent.FRAMES
    info = AcquisitionInfo(
        expected=frames,
        frame_shape=sent.SHAPE,
        dtype="uint16",
        period_s=0.0,
        frames_per_message=sent.FRAMES,
        events=True,
    )
    receiver = Receiver(info, base_id=feed.base_id, pool=BlockPool(RING_BYTES, info), lanes=[lane])

    def sink(update: "Message | CorruptFrame") -> None:
        receiver(update)
        if update.unique_id is not None and update.unique_id > feed.base_id:
            feed.handled(update.unique_id)

    source.start(sink, queue_size=WINDOW + 1)
    first = feed.base_id
    start, cpu_start = time.perf_counter(), time.process_time()
    feed.begin()
    feed.end()
    receiver.close()
    lane.join(STALL_S)
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    source.stop()
    lost = frames - lane.fate.done
    expected = photons(words, first)
    if lost == 0 and reducer.saxs.result().sum_image.sum() != expected:
        raise RuntimeError(f"the sum image does not hold the {expected} photons that were sent")
    size = MESSAGES * words[0].nbytes
    return Sample(value=size / elapsed_s / 1e9, extra={"lost": lost, "cores": cpu_s / elapsed_s})


def photons(words: list[NDArray[np.uint64]], first: int) -> int:
    """In the messages after number `first`; they are sent in turn."""
    each = [int((part & np.uint64(0xFFF)).sum()) for part in words]
    return sum(each[(first + i) % len(each)] for i in range(MESSAGES))


def bare(feed: Feed, words: list[NDArray[np.uint64]]) -> Sample:
    """What pvapy alone needs: a callback that copies each message into a ring."""
    import pvaccess

    ring = np.zeros((8, max(map(len, words))), np.uint64)
    live = threading.Event()
    received = size = 0

    def callback(structure: "pvaccess.PvObject") -> None:
        nonlocal received, size
        unique_id: Any = structure["uniqueId"]
        if unique_id > feed.base_id:
            message = structure["value"][0]["ulongValue"]
            np.copyto(ring[received % len(ring), : len(message)], message)
            received += 1
            size += message.nbytes
            feed.handled(unique_id)
        live.set()

    _kept_callbacks.append(callback)
    channel = pvaccess.Channel(CHANNEL)
    channel.monitor(callback, f"record[queueSize={WINDOW + 1}]field()")
    if not live.wait(STALL_S):
        raise RuntimeError(f"{CHANNEL} does not answer within {STALL_S:g} s")
    start, cpu_start = time.perf_counter(), time.process_time()
    feed.begin()
    feed.end()
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    channel.stopMonitor()
    extra = {"lost": MESSAGES - received, "cores": cpu_s / elapsed_s}
    return Sample(value=size / elapsed_s / 1e9, extra=extra)
