"""Frames from a source's thread to consumers: order, back-pressure, failures."""

import dataclasses
import gc
import threading
import weakref

import numpy as np
import pytest

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.model import CorruptFrame, Frame
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, FrameStream, Lane, Receiver, Ring
from tests.waiting import wait_for

SHAPE = (4, 6)
FRAME_BYTES = 4 * 6 * 2


class Keeper:
    """A consumer that copies what it gets; it can be held up, or fail at a frame."""

    name = "keeper"

    def __init__(self, *, held=False, fail_at=None, fail_begin=False):
        self.go = threading.Event()
        self.entered = threading.Event()
        if not held:
            self.go.set()
        self.fail_at, self.fail_begin = fail_at, fail_begin
        self.indices, self.frames = [], []
        self.ledger = self.fate = None

    def begin(self, info):
        if self.fail_begin:
            raise ValueError("cannot begin")

    def consume(self, batch):
        self.entered.set()
        assert self.go.wait(30)
        if self.fail_at is not None and self.fail_at in batch.indices:
            raise ValueError(f"frame {self.fail_at} is too much")
        self.indices += batch.indices.tolist()
        self.frames += [frame.copy() for frame in batch.frames]

    def end(self, acquisition, fate):
        self.ledger, self.fate = acquisition, fate


def frame(unique_id):
    return Frame(unique_id=unique_id, timestamp=unique_id / 10, data=np.full(SHAPE, unique_id, np.uint16))


def receiver(lanes, *, expected=20, ring_frames=64, base_id=0):
    info = AcquisitionInfo(expected=expected, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    return Receiver(info, base_id=base_id, pool=BlockPool(ring_frames * FRAME_BYTES, info), lanes=lanes)


def test_every_frame_reaches_every_consumer_in_order():
    keepers = [Keeper(), Keeper()]
    lanes = [Lane(keeper, "block") for keeper in keepers]
    sink = receiver(lanes, expected=200, base_id=50)
    for unique_id in range(51, 251):
        sink(frame(unique_id))
    ledger = sink.close()
    assert ledger.complete
    for keeper, lane in zip(keepers, lanes, strict=True):
        assert lane.join(30)
        assert keeper.indices == list(range(200))
        assert [int(image[0, 0]) for image in keeper.frames] == list(range(51, 251))
        assert (keeper.fate.done, keeper.fate.dropped) == (200, 0)
        assert keeper.ledger == ledger


def test_a_blocking_consumer_holds_the_source_and_loses_nothing():
    keeper = Keeper(held=True)
    lane = Lane(keeper, "block")
    sink = receiver([lane], expected=100, ring_frames=16)
    source = threading.Thread(target=lambda: [sink(frame(i)) for i in range(1, 101)])
    source.start()
    wait_for(keeper.entered.is_set)
    assert sink.accepted < 100  # the ring is full, the source waits
    wait_for(lambda: sink.quiet_s == 0, message="waiting for room, which is not silence")
    keeper.go.set()
    source.join(30)
    assert not source.is_alive()
    sink.close()
    assert lane.join(30)
    assert keeper.indices == list(range(100))


def test_a_dropping_consumer_never_holds_the_others():
    slow, fast = Keeper(held=True), Keeper()
    lanes = [Lane(slow, "drop"), Lane(fast, "block")]
    sink = receiver(lanes, expected=100, ring_frames=16)
    for unique_id in range(1, 101):
        sink(frame(unique_id))
    sink.close()
    slow.go.set()
    assert all(lane.join(30) for lane in lanes)
    assert fast.indices == list(range(100))
    assert slow.fate.dropped > 0
    assert slow.fate.done + slow.fate.dropped == 100
    assert slow.fate.done == len(slow.indices)
    assert slow.fate.reason == "slower than the detector"
    assert not slow.fate.failed


@pytest.mark.parametrize("fault", [{"fail_at": 30}, {"fail_begin": True}])
def test_a_failing_consumer_harms_nobody_and_its_frames_are_counted(fault):
    bad, good = Keeper(**fault), Keeper()
    lanes = [Lane(bad, "block"), Lane(good, "block")]
    sink = receiver(lanes, expected=100, ring_frames=32)
    for unique_id in range(1, 101):
        sink(frame(unique_id))
    sink.close()
    assert all(lane.join(30) for lane in lanes)
    assert good.indices == list(range(100))
    assert bad.fate.failed
    assert bad.fate.done + bad.fate.dropped == 100
    assert "ValueError" in bad.fate.reason


def test_a_slow_detector_still_brings_batches_within_the_age():
    keeper = Keeper()
    lane = Lane(keeper, "block")
    sink = receiver([lane], expected=20, ring_frames=64)
    sink(frame(1))
    wait_for(lambda: keeper.indices == [0], message="one frame handed over by its age")
    sink.close()
    assert lane.join(30)
    assert keeper.ledger.missing == 19


def test_misfits_count_as_corrupt():
    keeper = Keeper()
    lane = Lane(keeper, "block")
    sink = receiver([lane], expected=4)
    sink(Frame(unique_id=1, timestamp=0, data=np.zeros((4, 7), np.uint16)))
    sink(Frame(unique_id=2, timestamp=0, data=np.zeros(SHAPE, np.int32)))
    sink(CorruptFrame(unique_id=3, reason="torn"))
    sink(frame(4))
    ledger = sink.close()
    assert lane.join(30)
    assert (ledger.corrupt, ledger.accepted, ledger.missing) == (3, 1, 0)
    assert keeper.indices == [3]


def test_close_frees_a_source_that_waits_for_room():
    keeper = Keeper(held=True)
    lane = Lane(keeper, "block")
    sink = receiver([lane], expected=100, ring_frames=16)
    source = threading.Thread(target=lambda: [sink(frame(i)) for i in range(1, 101)])
    source.start()
    wait_for(keeper.entered.is_set)
    ledger = sink.close()
    source.join(30)
    assert not source.is_alive()
    keeper.go.set()
    assert lane.join(30)
    assert ledger.accepted + ledger.missing == 100
    assert keeper.fate.done == ledger.accepted == len(keeper.indices)


def test_a_batch_is_read_only():
    seen = []

    class Writer(Keeper):
        def consume(self, batch):
            seen.append(batch)
            batch.frames[0, 0, 0] = 1

    lane = Lane(Writer(), "block")
    sink = receiver([lane], expected=1)
    sink(frame(1))
    sink.close()
    assert lane.join(30)
    assert lane.fate.failed
    assert len(seen[0]) == 1


def test_a_ring_too_small_for_four_frames_is_refused():
    with pytest.raises(ConfigError, match="ring_mb"):
        BlockPool(
            3 * FRAME_BYTES, AcquisitionInfo(expected=9, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
        )


def test_consumers_attach_and_detach():
    stream, keeper = FrameStream(), Keeper()
    stream.attach(keeper, overflow="drop")
    assert [lane.consumer for lane in stream.lanes()] == [keeper]
    stream.detach(keeper)
    stream.detach(keeper)
    assert stream.lanes() == []


def test_a_ring_is_kept_for_the_next_acquisition_and_changed_for_other_messages():
    info = AcquisitionInfo(expected=9, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    ring = Ring(64 * FRAME_BYTES)
    pool = ring.pool(info)
    pool.close()
    assert ring.pool(dataclasses.replace(info, expected=100)) is pool
    held = [pool.acquire() for _ in range(pool.block_count // 2 - 1)]  # open again
    assert all(held)
    assert ring.pool(info) is pool  # a slow consumer gives back what it holds
    assert pool.acquire()
    other = ring.pool(info)
    assert other is not pool  # too little is left
    assert ring.pool(dataclasses.replace(info, dtype="uint8")) is not other


def test_a_ring_that_nobody_uses_any_more_gives_its_memory_back_at_once():
    info = AcquisitionInfo(expected=9, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    lane = Lane(Keeper(), "block")
    pool = BlockPool(64 * FRAME_BYTES, info)
    sink = Receiver(info, base_id=0, pool=pool, lanes=[lane])
    sink(frame(1))
    sink.close()
    assert lane.join(30)
    gone = weakref.ref(pool)
    gc.disable()  # a cycle would wait for it, with hundreds of megabytes
    try:
        del pool, sink, lane
        wait_for(lambda: gone() is None, message="the pool's end")
    finally:
        gc.enable()


def test_corrupt_messages_are_kept_aside_up_to_a_bound():
    sink = receiver([], expected=300, ring_frames=64)
    big = np.ones(20 * 2**20, np.uint8)
    for unique_id in range(1, 201):
        sink(CorruptFrame(unique_id=unique_id, reason=f"no. {unique_id}", payload=big))
    assert sink.close().corrupt == 200
    assert [kept.unique_id for kept in sink.aside] == list(range(1, 65))
    assert [kept.payload is not None for kept in sink.aside] == [True] + 63 * [False]
    assert sink.aside[0].payload is not big
