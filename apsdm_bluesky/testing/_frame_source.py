"""What every `FrameSource` must do, as tests that a real, a replayed and a simulated one inherit."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import CorruptFrame, Frame
from apsdm_bluesky.sources import FrameSource, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A source under test, and what makes it send.

    Parameters
    ----------
    source
        Not started.
    send
        Sends all of `images`, once, in order, one a message; returns when they have been sent. Nothing to do
        for a source that sends by itself once it is started.
    images
        At least 20, each (ny, nx), no two neighbours equal.
    """

    source: FrameSource
    send: Callable[[], None]
    images: Sequence[NDArray[Any]]


class FrameSourceConformance:
    """Inherit in a test module and define `feed`; pytest collects the rest.

    Subclasses may widen `timeout_s`, the longest wait for the images.
    """

    timeout_s = 30.0

    def feed(self) -> AbstractContextManager[Feed]:
        """A source and its feed, closed at exit."""
        raise NotImplementedError

    def test_every_message_comes_once_and_in_order(self) -> None:
        """Images as sent; numbers grow by one; time stamps are finite."""
        with self.feed() as feed:
            seen = self._taken(feed)
            feed.source.stop()
        _check(all(isinstance(message, Frame) for message in seen), "something could not be decoded")
        frames = [message for message in seen if isinstance(message, Frame)]
        first = frames[0].unique_id
        numbers = [frame.unique_id for frame in frames]
        _check(numbers == list(range(first, first + len(frames))), f"the numbers are {numbers}")
        _check(all(np.isfinite(frame.timestamp) for frame in frames), "a time stamp is not finite")
        for frame, image in zip(frames, feed.images, strict=True):
            _check(np.array_equal(frame.data, image), f"image {frame.unique_id} is not what was sent")

    def test_a_subscription_can_be_repeated(self) -> None:
        """Each start brings all that is sent after it."""
        with self.feed() as feed:
            for _ in range(3):
                count = len(self._taken(feed))
                _check(count == len(feed.images), f"{count} of {len(feed.images)} came")
                feed.source.stop()

    def test_nothing_comes_after_stop(self) -> None:
        """`stop` in mid-stream ends it for good, and may be called again, and before any start."""
        with self.feed() as feed:
            feed.source.stop()
            sink = _Sink()
            feed.source.start(sink, queue_size=len(feed.images) + 4)
            sending = threading.Thread(target=feed.send)
            sending.start()
            self._until(lambda: sink.count, "a first message")
            feed.source.stop()
            feed.source.stop()
            count = sink.count
            sending.join(self.timeout_s)
            _check(not sending.is_alive(), "sending hangs when nobody listens any more")
            _check(sink.count == count, "a message came after stop() had returned")

    def test_a_sink_may_stop_its_source(self) -> None:
        """At any message; it gets no other, and the source can be started again."""
        with self.feed() as feed:
            for last in (1, 5):
                sink = _StoppingSink(feed.source, last)
                feed.source.start(sink, queue_size=len(feed.images) + 4)
                feed.send()
                self._until(sink.stopped.is_set, f"message {last}, and the end of stop()")
                count = len(self._taken(feed))
                _check(count == len(feed.images), f"{count} of {len(feed.images)} came after a restart")
                feed.source.stop()
                _check(sink.count == last, f"{sink.count} messages came, the sink stopped at {last}")

    def test_the_sink_is_called_on_another_thread(self) -> None:
        """Whoever starts a source is free to wait for its messages."""
        with self.feed() as feed:
            sink = _Sink()
            feed.source.start(sink, queue_size=len(feed.images) + 4)
            feed.send()
            self._until(lambda: sink.count, "a first message")
            feed.source.stop()
            _check(threading.get_ident() not in sink.threads, "the sink ran on the thread of the test")

    def test_a_sink_that_waits_loses_nothing_within_the_queue(self) -> None:
        """What comes meanwhile is queued: the queue was asked to be as long as the series."""
        with self.feed() as feed:
            sink = _Sink()
            feed.source.start(sink, queue_size=len(feed.images) + 4)
            sink.gate.clear()
            feed.send()
            sink.gate.set()
            self._until(lambda: _complete(sink.fresh, feed.images), f"{len(feed.images)} messages")
            feed.source.stop()
            first = sink.fresh[-len(feed.images)]
            _check(isinstance(first, Frame) and np.array_equal(first.data, feed.images[0]), "a gap")

    def test_the_latest_message_can_be_asked_for(self) -> None:
        """The last one sent, also for a sink that was late."""
        with self.feed() as feed:
            last = self._taken(feed)[-1]
            latest = feed.source.latest()
            feed.source.stop()
        _check(isinstance(last, Frame) and isinstance(latest, Frame), f"the latest is {latest}")
        if isinstance(last, Frame) and isinstance(latest, Frame):
            _check(latest.unique_id == last.unique_id, f"latest is {latest.unique_id}, not {last.unique_id}")
            _check(np.array_equal(latest.data, feed.images[-1]), "the latest is another image")

    def test_a_started_source_is_connected(self) -> None:
        """It says so itself; nobody has to try."""
        with self.feed() as feed:
            self._taken(feed)
            _check(feed.source.connected, "a source that sends is not connected")
            feed.source.stop()

    def _taken(self, feed: Feed) -> list[Message | CorruptFrame]:
        """Start, have all images sent, and return what came after the start's stale value."""
        sink = _Sink()
        feed.source.start(sink, queue_size=len(feed.images) + 4)
        feed.send()
        self._until(lambda: _complete(sink.fresh, feed.images), f"{len(feed.images)} messages")
        return sink.fresh[-len(feed.images) :]

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not condition():
            _check(time.monotonic() < deadline, f"{what} did not come within {self.timeout_s} s")
            time.sleep(0.01)


class _Sink:
    """Keeps copies of what comes; while the gate is shut it waits there."""

    def __init__(self) -> None:
        self.fresh: list[Message | CorruptFrame] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def count(self) -> int:
        return len(self.fresh)

    def __call__(self, update: Message | CorruptFrame) -> None:
        self.threads.add(threading.get_ident())
        self.gate.wait()
        if isinstance(update, Frame):  # a view of the source's buffer holds only during the call
            copy = np.array(update.data)
            update = Frame(unique_id=update.unique_id, timestamp=update.timestamp, data=copy)
        self.fresh.append(update)


class _StoppingSink:
    """Stops its source at message number `last`."""

    def __init__(self, source: FrameSource, last: int) -> None:
        self.count = 0
        self.stopped = threading.Event()
        self._source = source
        self._last = last

    def __call__(self, _update: Message | CorruptFrame) -> None:
        self.count += 1
        if self.count == self._last:
            self._source.stop()
            self.stopped.set()


def _complete(messages: Sequence[Message | CorruptFrame], images: Sequence[NDArray[Any]]) -> bool:
    """Whether the last image has come and enough before it; a stale one may have come first."""
    if len(messages) < len(images):
        return False
    last = messages[-1]
    return isinstance(last, Frame) and np.array_equal(last.data, images[-1])


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)
