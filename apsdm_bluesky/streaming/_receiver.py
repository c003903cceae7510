"""From a source's callback to batches in every consumer's lane."""

import logging
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import AcquisitionLedger, CorruptFrame, EventFrame, Frame

from ._audit import FrameAudit
from ._info import AcquisitionInfo
from ._lane import Lane
from ._pool import Block, BlockPool

logger = logging.getLogger(__name__)

BATCH_AGE_S = 0.5
# Corrupt messages kept aside, the first ones of an acquisition.
_ASIDE_BYTES = 32 * 2**20
_ASIDE_MESSAGES = 64


class Receiver:
    """The sink of a frame source during one acquisition.

    Called on the source's thread it only copies the message into the ring; a full block, or one whose first
    frame is older than `batch_age_s`, goes to all lanes.
    """

    def __init__(
        self,
        info: AcquisitionInfo,
        *,
        base_id: int,
        pool: BlockPool,
        lanes: Sequence[Lane],
        batch_age_s: float = BATCH_AGE_S,
    ) -> None:
        self._info = info
        self._dtype = np.dtype(info.dtype)
        self._audit = FrameAudit(
            expected=info.expected, base_id=base_id, frames_per_message=info.frames_per_message
        )
        self._pool = pool
        self._batch_age_s = batch_age_s
        self._lanes = tuple(lanes)
        self._lock = threading.RLock()
        self._block: Block | None = None
        self._block_since = 0.0
        self._closed = False
        self._last_update = time.monotonic()
        self._waiting = False
        self.aside: list[CorruptFrame] = []
        self._aside_bytes = 0
        for lane in self._lanes:
            lane.begin(info)
        self._last_update = time.monotonic()  # a consumer's beginning is no silence of the source
        self._ageing = threading.Thread(target=self._flush_aged, name="frames-age", daemon=True)
        self._stop_ageing = threading.Event()
        self._ageing.start()

    @property
    def settled(self) -> bool:
        """Whether the last expected frame has come."""
        return self._audit.settled

    def expects(self, unique_id: int) -> bool:
        """Whether a message of this number would be a new one."""
        return self._audit.expects(unique_id)

    def end_at(self, unique_id: int) -> None:
        """The source was ended on purpose, and this was the last message it sent: see `FrameAudit.end_at`."""
        with self._lock:
            self._audit.end_at(unique_id)

    @property
    def accepted(self) -> int:
        """Frames accepted so far. Never waits."""
        return self._audit.accepted

    @property
    def quiet_s(self) -> float:
        """Seconds since the last update; 0 while one waits for room: the source is not silent."""
        return 0.0 if self._waiting else time.monotonic() - self._last_update

    @property
    def ledger(self) -> AcquisitionLedger:
        """The account so far; what has not come yet counts as missing."""
        with self._lock:
            return self._audit.ledger()

    def __call__(self, update: Frame | EventFrame | CorruptFrame) -> None:
        """Take one update. Waits while the ring is full."""
        with self._lock:
            if self._closed:
                return
            self._last_update = time.monotonic()
            if not isinstance(update, CorruptFrame) and (misfit := self._misfit(update)):
                update = CorruptFrame(unique_id=update.unique_id, reason=misfit, payload=_bytes_of(update))
            if isinstance(update, CorruptFrame):
                self._put_aside(update)
            else:
                self._take(update)

    def close(self) -> AcquisitionLedger:
        """End the acquisition: hand over what is left, tell the lanes. Idempotent."""
        self._pool.close()  # first: a source that waits for room lets go
        self._stop_ageing.set()
        with self._lock:
            ledger = self._audit.ledger()
            if not self._closed:
                self._closed = True
                self._hand_over()
                for lane in self._lanes:
                    lane.finish(ledger)
        return ledger

    def _put_aside(self, corrupt: CorruptFrame) -> None:
        self._audit.corrupt(corrupt.unique_id)
        if not self.aside:
            logger.warning("corrupt message: %s; further ones are counted", corrupt.reason)
        if len(self.aside) >= _ASIDE_MESSAGES:
            return
        payload = corrupt.payload
        if payload is not None and self._aside_bytes + payload.nbytes <= _ASIDE_BYTES:
            kept = payload.copy()  # it is a view of the source's buffer
            self._aside_bytes += kept.nbytes
        else:
            kept = None
        self.aside.append(CorruptFrame(unique_id=corrupt.unique_id, reason=corrupt.reason, payload=kept))

    def _take(self, message: Frame | EventFrame) -> None:
        # Room first, audit second: a frame counts as accepted only once there is a place for it.
        if self._block is not None and not self._block.fits(message):
            self._hand_over()
        if self._block is None:
            self._waiting = True
            self._block = self._pool.acquire()
            self._block_since = self._last_update = time.monotonic()
            self._waiting = False
        if self._block is None:
            return
        place = self._audit.admit(message.unique_id, message.count)
        if place is None:
            return
        self._block.append(*place, message)
        if self._block.full or self._audit.settled:
            self._hand_over()

    def _hand_over(self) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        if block.count:
            for lane in self._lanes:
                lane.offer(block, self._pool)
        block.release()

    def _flush_aged(self) -> None:
        while not self._stop_ageing.wait(self._batch_age_s / 5):
            # A source that waits for room holds the lock; there is nothing to hand over then.
            if self._lock.acquire(blocking=False):
                try:
                    if self._block is not None and time.monotonic() - self._block_since > self._batch_age_s:
                        self._hand_over()
                finally:
                    self._lock.release()

    def _misfit(self, message: Frame | EventFrame) -> str:
        """Why a message is not what was announced; empty where it is."""
        info = self._info
        if isinstance(message, Frame) == info.events:
            kind = "packed events" if info.events else "images"
            return f"message {message.unique_id} does not hold {kind}, which were announced"
        if message.count > info.frames_per_message:
            return f"message {message.unique_id} holds {message.count} frames, not {info.frames_per_message}"
        if isinstance(message, EventFrame):
            return self._events_misfit(message)
        shape, dtype = message.data.shape[-2:], message.data.dtype  # its name costs 15 us
        if shape == info.frame_shape and dtype == self._dtype:
            return ""
        return f"frame {message.unique_id} is {shape} {dtype}, announced was {info.frame_shape} {info.dtype}"

    def _events_misfit(self, message: EventFrame) -> str:
        if message.shape != self._info.frame_shape:
            return (
                f"message {message.unique_id} is of {message.shape}, announced was {self._info.frame_shape}"
            )
        if message.words.nbytes > self._pool.block_bytes:
            return (
                f"message {message.unique_id} has {message.words.nbytes / 2**20:.1f} MB of events, a part of "
                f"the ring holds {self._pool.block_bytes / 2**20:.1f}; raise ring_mb"
            )
        return ""


def _bytes_of(message: Frame | EventFrame) -> NDArray[np.uint8]:
    data = message.data if isinstance(message, Frame) else message.words
    return np.ascontiguousarray(data).view(np.uint8).ravel()
