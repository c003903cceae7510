"""Packed events over PVA, 2,500 a frame (20 kB), 1,000 frames a message, received and reduced: GB/s."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger
from apsdm_bluesky.reduction import Intensities, QMap
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo

from ._bench import Bench, Race, Sample, Target
from ._feed import Feed, Taken, over_pvapy, publisher, through_lane

CHANNEL = "bench:Events"
MESSAGES = 100  # a sample: 2 GB
WINDOW = 4  # messages sent beyond those that were handled
RING_BYTES = 256 * 2**20


@contextmanager
def bench() -> Iterator[Bench]:
    isolate_epics()  # before pvaccess is loaded, and with it the publisher's module
    from . import _event_publisher as sent

    words = sent.messages()
    qmap = QMap.rings(sent.SHAPE, (512.0, 256.0), dynamic_bins=20, static_per_dynamic=5, r_max=500)
    info = AcquisitionInfo(
        expected=MESSAGES * sent.FRAMES,
        frame_shape=sent.SHAPE,
        dtype="uint16",
        period_s=0.0,
        frames_per_message=sent.FRAMES,
        events=True,
    )
    with publisher("_event_publisher", CHANNEL, messages=MESSAGES, window=WINDOW) as feed:
        sides = {"ours": lambda: ours(feed, words, info, qmap), "bare": lambda: bare(feed, words)}
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


class Reducer:
    """The consumer: sum image, I(q), I(t) and I(q, t)."""

    name = "events"

    def __init__(self, qmap: QMap) -> None:
        self.intensities = Intensities(qmap)

    def begin(self, info: AcquisitionInfo) -> None:
        pass

    def consume(self, batch: Batch) -> None:
        self.intensities.push(batch)

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        pass


def ours(feed: Feed, words: list[NDArray[np.uint64]], info: AcquisitionInfo, qmap: QMap) -> Sample:
    """From the first credit until the last frame is reduced."""
    reducer, first = Reducer(qmap), feed.base_id
    taken = through_lane(feed, reducer, info, ring_bytes=RING_BYTES)
    expected = photons(words, first)
    if taken.lost == 0 and reducer.intensities.saxs.sum_image.sum() != expected:
        raise RuntimeError(f"the sum image does not hold the {expected} photons that were sent")
    return sample(taken, MESSAGES * words[0].nbytes)


def photons(words: list[NDArray[np.uint64]], first: int) -> int:
    """In the messages after number `first`; they are sent in turn."""
    each = [int((part & np.uint64(0xFFF)).sum()) for part in words]
    return sum(each[(first + i) % len(each)] for i in range(MESSAGES))


def bare(feed: Feed, words: list[NDArray[np.uint64]]) -> Sample:
    """What pvapy alone needs: a callback that copies each message into a ring."""
    ring = np.zeros((8, max(map(len, words))), np.uint64)
    size = 0

    def take(number: int, structure: Any) -> None:
        nonlocal size
        message = structure["value"][0]["ulongValue"]
        np.copyto(ring[number % len(ring), : len(message)], message)
        size += message.nbytes

    return sample(over_pvapy(feed, take), size)


def sample(taken: Taken, size: int) -> Sample:
    extra = {"lost": taken.lost, "cores": taken.cpu_s / taken.wall_s}
    return Sample(value=size / taken.wall_s / 1e9, extra=extra)
