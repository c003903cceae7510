"""A consumer with a thread and a queue of its own, so none can harm the acquisition or another."""

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

from apsdm_bluesky.config import Overflow
from apsdm_bluesky.errors import ApsdmError, ConfigError
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger

from ._info import AcquisitionInfo
from ._memory import give_back_memory
from ._pool import Block, BlockPool
from ._spill import SpilledBatch, SpillFiles

logger = logging.getLogger(__name__)


class Consumer(Protocol):
    """Takes the frames of an acquisition, in order. `consume` and `end` run on one thread of its own."""

    name: str

    def begin(self, info: AcquisitionInfo) -> None:
        """Called before the first frame, by the thread that arms the detector: be quick."""
        ...

    def consume(self, batch: Batch) -> None:
        """Take a batch. Its arrays are views of the ring: copy what must outlive the call."""
        ...

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        """No batch comes any more. Called also after a failure, with the reason in `fate`."""
        ...


class Lane:
    """Feeds one consumer. Accepted = done + dropped holds at the end.

    Parameters
    ----------
    overflow
        ``block``: the ring waits for this consumer. ``drop``: it may hold half of the ring; batches beyond
        are not given to it, and counted. ``spill``: when the ring becomes short its batches are written to
        disk, and read back in order; should the disk fail, it goes on as ``block`` and its fate says so.
    spill_folder
        Where to ``spill``.

    Raises
    ------
    ConfigError
        ``spill`` without a folder.
    """

    def __init__(self, consumer: Consumer, overflow: Overflow, *, spill_folder: Path | None = None) -> None:
        self.consumer = consumer
        self._overflow = overflow
        self._changed = threading.Condition()
        self._pool: BlockPool | None = None
        # In the order of the frames: those on disk, one on its way there, those in the ring.
        self._spilled: deque[SpilledBatch] = deque()
        self._spilling = False
        self._queue: deque[Block] = deque()
        self._acquisition: AcquisitionLedger | None = None
        self._in_hand = 0  # blocks that the consumer is at
        self._done = self._dropped = 0
        self._reason = ""
        self._broken = False
        self._thread = threading.Thread(target=self._run, name=f"lane-{consumer.name}", daemon=True)
        self._files: SpillFiles | None = None
        if overflow == "spill":
            if spill_folder is None:
                raise ConfigError(
                    f"{consumer.name}: to spill frames to disk needs a folder; give spill_folder"
                )
            self._files = SpillFiles(spill_folder)

    def begin(self, info: AcquisitionInfo) -> None:
        """Begin the consumer and start its thread. A consumer that fails here takes no frames."""
        try:
            self.consumer.begin(info)
        except Exception as error:  # noqa: BLE001 - a consumer must never harm the acquisition; told in its fate
            self._break(error)
        self._thread.start()
        if self._files is not None:
            name = f"spill-{self.consumer.name}"
            threading.Thread(target=self._spill, args=(self._files,), name=name, daemon=True).start()

    def offer(self, block: Block, pool: BlockPool) -> None:
        """Hand a block over, or count it as dropped. Never waits."""
        with self._changed:
            if self._broken:
                self._dropped += block.count
            elif self._overflow == "drop" and len(self._queue) + self._in_hand >= max(
                1, pool.block_count // 2
            ):
                self._dropped += block.count
                self._reason = "slower than the detector"
            else:
                pool.hold(block)
                self._pool = pool
                self._queue.append(block)
                self._changed.notify_all()

    def finish(self, acquisition: AcquisitionLedger) -> None:
        """No block comes any more. The consumer's `end` follows when its queue is empty."""
        with self._changed:
            self._acquisition = acquisition
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the consumer's end; False when it is not reached in time."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def fate(self) -> ConsumerLedger:
        """The account so far."""
        with self._changed:
            return ConsumerLedger(
                accepted=self._done + self._dropped,
                done=self._done,
                dropped=self._dropped,
                reason=self._reason,
                failed=self._broken,
            )

    # -- on the consumer's thread --

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._consume(item)
            finally:
                item.release()
                self._in_hand = 0
        if self._files is not None:
            self._files.close()
        if self._acquisition is not None:
            self._end(self._acquisition)
        give_back_memory()

    def _next(self) -> Block | SpilledBatch | None:
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._spilled or (not self._spilling and (self._queue or self._acquisition is not None))
                )
            )
            if self._spilled:
                return self._spilled.popleft()
            if not self._queue:
                return None
            self._in_hand = 1
            return self._queue.popleft()

    def _consume(self, item: Block | SpilledBatch) -> None:
        try:
            if not self._broken:
                self.consumer.consume(item.batch())
        except Exception as error:  # noqa: BLE001 - as in begin
            self._break(error)
        with self._changed:
            if self._broken:
                self._dropped += item.count
            else:
                self._done += item.count

    def _end(self, acquisition: AcquisitionLedger) -> None:
        try:
            self.consumer.end(acquisition, self.fate)
        except Exception as error:  # noqa: BLE001 - as in begin
            self._break(error)

    def _break(self, error: Exception) -> None:
        logger.error("%s failed: %s", self.consumer.name, error, exc_info=error)
        with self._changed:
            self._broken = True
            # Our own errors are made to be read; of others the class says more than the text.
            self._reason = str(error) if isinstance(error, ApsdmError) else f"{type(error).__name__}: {error}"
            self._changed.notify_all()

    # -- on a thread of its own, when it may spill --

    def _spill(self, files: SpillFiles) -> None:
        while (block := self._oldest_in_short_ring()) is not None:
            try:
                spilled = files.append(block.batch())
            except Exception as error:  # noqa: BLE001 - the frames are still in the ring; told in the fate
                self._spill_no_more(block, files.folder, error)
                return
            with self._changed:
                self._spilled.append(spilled)
                self._spilling = False
                self._changed.notify_all()
            block.release()

    def _oldest_in_short_ring(self) -> Block | None:
        """The next block to be spilled; None when there will be none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or (self._queue and self._pool and self._pool.short))
            if self._over:
                return None
            self._spilling = True
            return self._queue.popleft()

    @property
    def _over(self) -> bool:
        return self._broken or self._acquisition is not None

    def _spill_no_more(self, block: Block, folder: Path, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        reason = f"{folder}: frames cannot be spilled there ({why}); the detector's queue was held instead"
        logger.error("%s: %s", self.consumer.name, reason)
        with self._changed:
            self._queue.appendleft(block)
            self._spilling = False
            self._reason = self._reason or reason
            self._changed.notify_all()
