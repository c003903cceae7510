"""A consumer with a thread and a queue of its own, so none can harm the acquisition or another."""

import logging
import threading
from collections import deque
from typing import Protocol

from apsdm_bluesky.config import Overflow
from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger

from ._info import AcquisitionInfo
from ._pool import Block, BlockPool

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
        are not given to it, and counted.
    """

    def __init__(self, consumer: Consumer, overflow: Overflow) -> None:
        self.consumer = consumer
        self._overflow = overflow
        self._changed = threading.Condition()
        self._queue: deque[Block] = deque()
        self._acquisition: AcquisitionLedger | None = None
        self._done = self._dropped = 0
        self._reason = ""
        self._broken = False
        self._thread = threading.Thread(target=self._run, name=f"lane-{consumer.name}", daemon=True)

    def begin(self, info: AcquisitionInfo) -> None:
        """Begin the consumer and start its thread. A consumer that fails here takes no frames."""
        try:
            self.consumer.begin(info)
        except Exception as error:  # noqa: BLE001 - a consumer must never harm the acquisition; told in its fate
            self._break(error)
        self._thread.start()

    def offer(self, block: Block, pool: BlockPool) -> None:
        """Hand a block over, or count it as dropped. Never waits."""
        with self._changed:
            if self._broken:
                self._dropped += block.count
            elif self._overflow == "drop" and len(self._queue) >= max(1, pool.block_count // 2):
                self._dropped += block.count
                self._reason = "slower than the detector"
            else:
                pool.hold(block)
                self._queue.append(block)
                self._changed.notify()

    def finish(self, acquisition: AcquisitionLedger) -> None:
        """No block comes any more. The consumer's `end` follows when its queue is empty."""
        with self._changed:
            self._acquisition = acquisition
            self._changed.notify()

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

    def _run(self) -> None:
        while (block := self._next()) is not None:
            try:
                self._consume(block)
            finally:
                block.release()
        if self._acquisition is not None:
            self._end(self._acquisition)

    def _next(self) -> Block | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._acquisition is not None)
            return self._queue.popleft() if self._queue else None

    def _consume(self, block: Block) -> None:
        try:
            if not self._broken:
                self.consumer.consume(block.batch())
        except Exception as error:  # noqa: BLE001 - as in begin
            self._break(error)
        with self._changed:
            if self._broken:
                self._dropped += block.count
            else:
                self._done += block.count

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
