"""A consumer slower than the detector: what each way to overflow does to the ring and to the frames."""

import contextlib
import itertools
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.model import EventFrame, Frame, FrameBatch
from apsdm_bluesky.reduction import pack_events
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, FrameStream, Lane, Receiver
from apsdm_bluesky.streaming._lane import logger as lane_logger
from tests.waiting import wait_for

SHAPE = (4, 6)
BATCH = 4  # frames: the ring of 16 has four blocks
RING = 16 * 4 * 6 * 2


class Gated:
    """A consumer that takes one batch each time it is let."""

    name = "gated"

    def __init__(self):
        self.passes = threading.Semaphore(0)
        self.batches, self.ledger, self.fate = [], None, None

    def begin(self, info):
        pass

    def consume(self, batch):
        assert self.passes.acquire(timeout=30)
        self.batches.append((type(batch), batch.indices.copy(), content(batch)))

    def end(self, acquisition, fate):
        self.ledger, self.fate = acquisition, fate

    def let(self, batches=10_000):
        self.passes.release(batches)

    @property
    def indices(self):
        return [int(index) for _, indices, _ in self.batches for index in indices]


class Open(Gated):
    name = "open"

    def consume(self, batch):
        self.let(1)
        super().consume(batch)


def content(batch):
    return (
        batch.frames.copy() if isinstance(batch, FrameBatch) else (batch.words.copy(), batch.offsets.copy())
    )


def image(number):
    return np.full(SHAPE, number % 4000, np.uint16)


def frame(number):
    return Frame(unique_id=number + 1, timestamp=float(number), data=image(number))


def receiver(lanes, frames, *, events=False, ring_bytes=RING):
    info = AcquisitionInfo(
        expected=frames,
        frame_shape=SHAPE,
        dtype="uint16",
        period_s=0.0,
        frames_per_message=BATCH if events else 1,
        events=events,
    )
    return Receiver(info, base_id=0, pool=BlockPool(ring_bytes, info), lanes=lanes, batch_age_s=60.0)


def send(sink, frames):
    for number in range(frames):
        sink(frame(number))


def in_background(work, *arguments):
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def ended(lane):
    assert lane.join(30)
    return lane.fate


def test_a_spilling_consumer_never_holds_the_ring(tmp_path):
    """It takes nothing at all, while a hundred times the ring goes by."""
    slow = Gated()
    lane = Lane(slow, "spill", spill_folder=tmp_path)
    sink = receiver([lane], 1600)
    source = in_background(send, sink, 1600)
    source.join(30)
    assert not source.is_alive()
    assert sink.close().complete
    slow.let()
    fate = ended(lane)
    assert (fate.done, fate.dropped, fate.reason) == (1600, 0, "")
    assert slow.indices == list(range(1600))
    for _, indices, frames in slow.batches:
        assert np.array_equal(frames, [image(index) for index in indices])
    assert list(tmp_path.iterdir()) == []


def test_events_are_spilled_as_events(tmp_path):
    slow = Gated()
    lane = Lane(slow, "spill", spill_folder=tmp_path)
    sink = receiver([lane], 4000, events=True, ring_bytes=8 * 64 * 8)  # eight blocks of 64 words
    packed = pack_events(FrameBatch(frames=np.stack([image(1)] * BATCH), indices=np.arange(BATCH)))

    def send_events():
        for message in range(1000):
            sink(
                EventFrame(
                    unique_id=message + 1, timestamp=0.0, words=packed.words[: message % 25],
                    offsets=np.minimum(packed.offsets, message % 25), shape=SHAPE,
                )
            )  # fmt: skip

    source = in_background(send_events)
    source.join(30)
    assert not source.is_alive()
    sink.close()
    slow.let()
    assert ended(lane).done == 4000
    assert slow.indices == list(range(4000))
    lengths = np.concatenate([np.diff(offsets) for _, _, (_, offsets) in slow.batches])
    assert lengths.reshape(1000, BATCH).sum(axis=1).tolist() == [message % 25 for message in range(1000)]


STEPS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 8)), min_size=1, max_size=12)


@settings(max_examples=20)
@given(steps=STEPS)
def test_with_spill_nothing_is_missing_however_sending_and_taking_interleave(tmp_path_factory, steps):
    slow, other = Gated(), Open()
    spill_folder = tmp_path_factory.getbasetemp() / "spill"
    lanes = [Lane(slow, "spill", spill_folder=spill_folder), Lane(other, "block")]
    total = sum(frames for frames, _ in steps)
    sink = receiver(lanes, total)
    numbers = iter(range(total))
    for frames, batches in steps:
        for number in itertools.islice(numbers, frames):
            sink(frame(number))
        slow.let(batches)
    sink.close()
    slow.let()
    for lane, consumer in zip(lanes, (slow, other), strict=True):
        fate = ended(lane)
        assert (fate.done, fate.dropped) == (total, 0)
        assert consumer.indices == list(range(total))


@settings(max_examples=20)
@given(steps=STEPS)
def test_with_block_nothing_is_missing_however_it_is_let(steps):
    slow = Gated()
    lane = Lane(slow, "block")
    total = sum(frames for frames, _ in steps)
    sink = receiver([lane], total)
    source = in_background(send, sink, total)
    for _, batches in steps:
        slow.let(batches)
    slow.let()
    source.join(30)
    assert not source.is_alive()
    sink.close()
    assert (ended(lane).done, lane.fate.dropped) == (total, 0)
    assert slow.indices == list(range(total))


def test_a_dropping_consumer_counts_exactly():
    slow = Gated()
    lane = Lane(slow, "drop")
    sink = receiver([lane], 100)
    send(sink, 100)
    sink.close()
    slow.let()
    fate = ended(lane)
    assert fate.done + fate.dropped == fate.accepted == 100
    assert fate.done == len(slow.indices) < 100
    assert slow.indices == sorted(set(slow.indices))
    assert fate.reason == "slower than the detector"


def test_consumers_that_spill_do_not_jam_each_other(tmp_path):
    """Two slow ones at different places, in a ring of four blocks."""
    one, two = Gated(), Gated()
    lanes = [Lane(consumer, "spill", spill_folder=tmp_path) for consumer in (one, two)]
    sink = receiver(lanes, 400)
    one.let(7)
    source = in_background(send, sink, 400)
    source.join(30)
    assert not source.is_alive()
    sink.close()
    two.let()
    one.let()
    assert [ended(lane).done for lane in lanes] == [400, 400]
    assert one.indices == two.indices == list(range(400))


def gone(folder, _monkeypatch):
    def replaced():  # unless the lane makes it anew in between
        shutil.rmtree(folder)
        with contextlib.suppress(IsADirectoryError):
            return folder.write_text("no folder any more")

    wait_for(replaced, message="a file in place of the folder")


def full(_folder, monkeypatch):
    def pwrite(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apsdm_bluesky.streaming._spill.os.pwrite", pwrite)


@pytest.mark.parametrize(("fault", "why"), [(gone, "exists"), (full, "No space left on device")])
def test_a_disk_that_fails_in_the_middle_holds_the_ring_instead(tmp_path, monkeypatch, caplog, fault, why):
    monkeypatch.setattr("apsdm_bluesky.streaming._spill._FILE_BYTES", 1)  # a file a batch
    folder = tmp_path / "spill"
    slow = Gated()
    lane = Lane(slow, "spill", spill_folder=folder)
    sink = receiver([lane], 400)
    first = in_background(send, sink, 100)
    first.join(30)
    assert not first.is_alive()
    fault(folder, monkeypatch)
    rest = in_background(lambda: [sink(frame(number)) for number in range(100, 400)])
    wait_for(lambda: lane.fate.reason, message="the disk's failure")
    wait_for(lambda: sink.quiet_s == 0, message="the source to wait for the ring")
    assert sink.accepted < 400
    slow.let()
    rest.join(30)
    assert not rest.is_alive()
    sink.close()
    fate = ended(lane)
    assert (fate.done, fate.dropped, fate.failed) == (400, 0, False)
    assert slow.indices == list(range(400))
    assert f"{folder}: frames cannot be spilled there" in fate.reason
    assert why in fate.reason
    assert [record.name for record in caplog.records] == [lane_logger.name]  # told once


def test_frames_that_the_disk_does_not_give_back_are_counted(tmp_path, monkeypatch):
    slow = Gated()
    lane = Lane(slow, "spill", spill_folder=tmp_path)
    sink = receiver([lane], 400)
    source = in_background(send, sink, 400)
    source.join(30)
    assert not source.is_alive()
    monkeypatch.setattr("apsdm_bluesky.streaming._spill.os.preadv", lambda *_: 0)
    sink.close()
    slow.let()
    fate = ended(lane)
    assert fate.failed
    assert fate.dropped > 0
    assert fate.done + fate.dropped == 400
    assert fate.done == len(slow.indices)
    assert "cannot be read (the file is too short)" in fate.reason


def test_a_consumer_that_fails_while_its_backlog_is_on_disk(tmp_path):
    class Failing(Gated):
        def consume(self, batch):
            super().consume(batch)
            raise ValueError("no more")

    bad, good = Failing(), Open()
    lanes = [Lane(bad, "spill", spill_folder=tmp_path), Lane(good, "block")]
    sink = receiver(lanes, 400)
    source = in_background(send, sink, 200)
    source.join(30)
    assert not source.is_alive()
    bad.let()
    wait_for(lambda: lanes[0].fate.failed)
    for number in range(200, 400):
        sink(frame(number))
    sink.close()
    fates = [ended(lane) for lane in lanes]
    assert [(fate.done, fate.dropped) for fate in fates] == [(0, 400), (400, 0)]


def test_to_spill_needs_a_folder():
    with pytest.raises(ConfigError, match="give spill_folder"):
        Lane(Gated(), "spill")


def test_a_stream_tells_its_lanes_where_to_spill(tmp_path):
    stream, slow = FrameStream(spill_folder=tmp_path / "here"), Gated()
    stream.attach(slow, overflow="spill")
    lanes = stream.lanes()
    sink = receiver(lanes, 100)
    source = in_background(send, sink, 100)
    source.join(30)
    sink.close()
    slow.let()
    assert ended(lanes[0]).done == 100
    assert (tmp_path / "here").is_dir()
