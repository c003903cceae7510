"""Frames played from a recording, or from a reader's series, at any pace."""

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np

from apsdm_bluesky.errors import ApsdmError, ConfigError, FormatError
from apsdm_bluesky.formats import FrameSeries, Recording
from apsdm_bluesky.model import CorruptFrame, EventBatch, EventFrame, Frame

from ._ntndarray import corrupt_frame, decode_ntndarray
from ._protocol import FrameSink, Message
from ._recorder import structure_of

__all__ = ["ReplaySource"]

logger = logging.getLogger(__name__)

_BATCH_FRAMES = 256


class ReplaySource:
    """A `FrameSource` that plays a file once for each subscription, from the first message on.

    Messages carry the numbers they were recorded with; those of a series count from 1. A message that could
    not be decoded then cannot be decoded now: a recording goes through the same decoding.

    For reductions without a detector. As the source of a `PvaStream` it is of no use: it plays as soon as it
    is started, before the device is ready. There the simulated detector plays the file (``apsdm replay``).

    Parameters
    ----------
    frames
        What to play.
    speed
        1 is the pace of the recording, 2 twice as fast; 0 is as fast as messages are taken.
    frames_per_message
        Of a series of events: how many frames a message holds. Images come one by one.
    period_s
        Of a series: time between frames [s]; by default the file's own.

    Raises
    ------
    ConfigError
        A speed below 0, or a pace of a series that is not known.
    """

    def __init__(
        self,
        frames: FrameSeries | Recording,
        *,
        speed: float = 1.0,
        frames_per_message: int = 1,
        period_s: float | None = None,
    ) -> None:
        if not 0 <= speed < float("inf"):
            raise ConfigError(f"speed {speed}: give 0 (as fast as frames are taken) or more")
        self._frames = frames
        self._speed = speed
        self._each = frames_per_message
        self._period_s = 0.0 if isinstance(frames, Recording) else period_s or frames.period_s
        if self._period_s is None and speed:
            raise ConfigError("these frames have no times: give period_s, or speed 0")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._latest: Message | None = None
        self.failure: ApsdmError | None = None

    @property
    def connected(self) -> bool:
        """Whether it is started, and the file could be read so far."""
        return self._thread is not None and self.failure is None

    @property
    def playing(self) -> bool:
        """Whether there is more to come."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, sink: FrameSink, *, queue_size: int) -> None:  # noqa: ARG002 - nothing is queued: it waits
        """Play from the beginning; see `FrameSource.start`."""
        self.stop()
        self._stop = threading.Event()
        self.failure = None
        self._thread = threading.Thread(target=self._run, args=(sink, self._stop), name="replay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; see `FrameSource.stop`."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def latest(self) -> Message | None:
        """The last message played."""
        return self._latest

    def _run(self, sink: FrameSink, stop: threading.Event) -> None:
        try:
            self._play(sink, stop)
        except ApsdmError as error:
            self.failure = error
            logger.error("replay ended: %s", error)  # noqa: TRY400 - a file's fault is told in one line

    def _play(self, sink: FrameSink, stop: threading.Event) -> None:
        begin = time.monotonic()
        for due_s, message in self._messages():
            wait_s = begin + due_s / self._speed - time.monotonic() if self._speed else 0.0
            if stop.is_set() or (wait_s > 0 and stop.wait(wait_s)):
                return
            if not isinstance(message, CorruptFrame):
                self._latest = message
            sink(message)

    def _messages(self) -> Iterator[tuple[float, Message | CorruptFrame]]:
        """Each with its time after the first one [s]."""
        if isinstance(self._frames, Recording):
            yield from _recorded(self._frames)
        else:
            yield from self._of_series(self._frames)

    def _of_series(self, series: FrameSeries) -> Iterator[tuple[float, Message]]:
        period = self._period_s or 0.0
        for message, first in _messages_of(series, self._each):
            yield (first + message.count) * period, message


def _recorded(recording: Recording) -> Iterator[tuple[float, Message | CorruptFrame]]:
    first_ns = None
    for recorded in recording.messages():
        first_ns = recorded.arrival_ns if first_ns is None else first_ns
        structure = structure_of(recorded)
        try:
            message: Message | CorruptFrame | None = decode_ntndarray(structure)
        except FormatError as error:
            message = corrupt_frame(structure, error)
        if message is not None:
            yield 1e-9 * (recorded.arrival_ns - first_ns), message


def _messages_of(series: FrameSeries, each: int) -> Iterator[tuple[Message, int]]:
    """Messages, and the index of each one's first frame. Their numbers count from 1."""
    for batch in series.batches(each if series.events else _BATCH_FRAMES):
        times = np.full(len(batch), time.time()) if batch.timestamps is None else batch.timestamps
        if isinstance(batch, EventBatch):
            first = int(batch.indices[0])
            message = EventFrame(
                unique_id=1 + first // each,
                timestamp=float(times[0]),
                words=batch.words,
                offsets=batch.offsets,
                shape=batch.shape,
            )
            yield message, first
            continue
        for index, stamp, image in zip(batch.indices, times, batch.frames, strict=True):
            yield Frame(unique_id=1 + int(index), timestamp=float(stamp), data=image), int(index)
