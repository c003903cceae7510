"""From a source's callback to batches in every consumer's lane."""

import logging
import threading
import time
from collections.abc import Sequence

from apsdm_bluesky.model import AcquisitionLedger, CorruptFrame, Frame

from ._audit import FrameAudit
from ._lane import AcquisitionInfo, Lane
from ._pool import Block, BlockPool

logger = logging.getLogger(__name__)

BATCH_AGE_S = 0.5


class Receiver:
    """The sink of a frame source during one acquisition.

    Called on the source's thread it only copies the frame into the ring; a full block, or one whose first
    frame is half a second old, goes to all lanes.
    """

    def __init__(
        self, info: AcquisitionInfo, *, base_id: int, ring_bytes: int, lanes: Sequence[Lane]
    ) -> None:
        self._info = info
        self._audit = FrameAudit(expected=info.expected, base_id=base_id)
        self._pool = BlockPool(ring_bytes, info.frame_shape, info.dtype)
        self._lanes = tuple(lanes)
        self._lock = threading.RLock()
        self._block: Block | None = None
        self._block_since = 0.0
        self._closed = False
        self._last_update = time.monotonic()
        self._waiting = False
        self.corrupt_reason = ""
        for lane in self._lanes:
            lane.begin(info)
        self._ageing = threading.Thread(target=self._flush_aged, name="frames-age", daemon=True)
        self._stop_ageing = threading.Event()
        self._ageing.start()

    @property
    def settled(self) -> bool:
        """Whether the last expected frame has come."""
        return self._audit.settled

    @property
    def last_id(self) -> int:
        """Number of the last frame that came."""
        return self._audit.last_id

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

    def __call__(self, update: Frame | CorruptFrame) -> None:
        """Take one update. Waits while the ring is full."""
        with self._lock:
            if self._closed:
                return
            self._last_update = time.monotonic()
            if isinstance(update, Frame) and not self._fits(update):
                update = CorruptFrame(unique_id=update.unique_id, reason=self._misfit(update))
            if isinstance(update, CorruptFrame):
                self._audit.corrupt(update.unique_id)
                self.corrupt_reason = update.reason
                logger.warning("corrupt frame: %s", update.reason)
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

    def _take(self, frame: Frame) -> None:
        # Room first, audit second: a frame counts as accepted only once there is a place for it.
        if self._block is None:
            self._waiting = True
            self._block = self._pool.acquire()
            self._block_since = self._last_update = time.monotonic()
            self._waiting = False
        if self._block is None:
            return
        index = self._audit.admit(frame.unique_id)
        if index is None:
            return
        self._block.append(index, frame.timestamp, frame.data)
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
        while not self._stop_ageing.wait(BATCH_AGE_S / 5):
            # A source that waits for room holds the lock; there is nothing to hand over then.
            if self._lock.acquire(blocking=False):
                try:
                    if self._block is not None and time.monotonic() - self._block_since > BATCH_AGE_S:
                        self._hand_over()
                finally:
                    self._lock.release()

    def _fits(self, frame: Frame) -> bool:
        return frame.data.shape == self._info.frame_shape and frame.data.dtype.name == self._info.dtype

    def _misfit(self, frame: Frame) -> str:
        return (
            f"frame {frame.unique_id} is {frame.data.shape} {frame.data.dtype}, "
            f"announced was {self._info.frame_shape} {self._info.dtype}"
        )
