"""The series that a group takes: order restored, every frame audited, correlated. Pure."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from apsdm_bluesky.model import (
    AcquisitionLedger,
    Batch,
    CorruptFrame,
    EventBatch,
    EventFrame,
    Frame,
    FrameBatch,
)
from apsdm_bluesky.reduction import SeriesReduction, SeriesResult
from apsdm_bluesky.sources import Message

from ._audit import FrameAudit
from ._hpc_window import ReorderWindow
from ._hpc_wire import Delivery

Reduction = Callable[[tuple[int, int]], SeriesReduction]
logger = logging.getLogger(__name__)

_OPEN_END = 1 << 40
_BATCH_FRAMES = 64


@dataclass(slots=True, kw_only=True)
class ConsumerCounts:
    """The part of one consumer's process in the series, in messages.

    Parameters
    ----------
    process
        Its number.
    received
        From the detector.
    delivered
        To the collector.
    lost
        Received, and never delivered. What the process took with it when it was killed is not in here: nobody
        saw it.
    last_id
        Number of the last message that it delivered. One delivers in the order of the numbers.
    silent
        Whether it is dead, or has held the others up for too long: nobody waits for it.
    """

    process: int
    received: int = 0
    delivered: int = 0
    lost: int = 0
    last_id: int = 0
    silent: bool = False

    _seen: int = 0  # of all it received, the series before included

    @property
    def subscribed(self) -> bool:
        """Whether it has got a message."""
        return self._seen > 0

    def take(self, delivery: Delivery) -> None:
        """Count a delivery."""
        self.silent = False
        sender = delivery.sender
        if not self.delivered:
            self._seen = max(sender.received - 1, 0)
        new = sender.received - self._seen
        if not new:  # it says that it is about to subscribe
            return
        self._seen = sender.received
        self.received += new
        self.delivered += 1
        self.lost += new - 1
        if delivery.message is not None and delivery.message.unique_id is not None:
            self.last_id = delivery.message.unique_id

    def after(self, other: "ConsumerCounts") -> "ConsumerCounts":
        """What this process and the one before it did, as one."""
        return replace(
            self,
            received=other.received + self.received,
            delivered=other.delivered + self.delivered,
            lost=other.lost + self.lost,
            last_id=max(other.last_id, self.last_id),
        )

    def counts(self) -> dict[str, int]:
        """As numbers by name."""
        return {key: value for key, value in asdict(self).items() if not key.startswith("_")}


class GroupSeries:
    """Takes what consumers deliver, in any order, and reduces it in the right one.

    Parameters
    ----------
    reduction
        Gives the reduction for frames of a shape (ny, nx).
    expected
        Frames of the series; None: as many as come until `close`.
    base_id
        The source's message number before the series.
    window
        Messages to hold for a consumer that is late.
    """

    def __init__(
        self,
        reduction: Reduction,
        *,
        expected: int | None,
        base_id: int,
        frames_per_message: int = 1,
        window: int = 256,
    ) -> None:
        self._reduction_for = reduction
        self._expected = expected
        frames = expected or _OPEN_END
        self._ids = range(base_id + 1, base_id + 1 + -(-frames // frames_per_message))
        self._audit = FrameAudit(expected=frames, base_id=base_id, frames_per_message=frames_per_message)
        self._window: ReorderWindow[Message | CorruptFrame] = ReorderWindow(first=base_id + 1)
        self._capacity = window
        self._shape: tuple[int, int] | None = None
        self._reduction: SeriesReduction | None = None
        self._batch: list[tuple[int, int, Message]] = []
        self._batched = 0
        self.begun = False
        self._told_outside = False
        # By number and process: two that share a number share nothing else.
        self._processes: dict[tuple[int, int], ConsumerCounts] = {}
        self.corrupt_reason = ""

    @property
    def settled(self) -> bool:
        """Whether the last expected message has come, and all before it have come or been given up."""
        return self._audit.settled

    @property
    def consumers(self) -> dict[int, ConsumerCounts]:
        """What each consumer did, by its number, over all its processes; the last one's state."""
        merged: dict[int, ConsumerCounts] = {}
        for (number, _), counts in self._processes.items():
            merged[number] = counts.after(merged[number]) if number in merged else counts
        return merged

    @property
    def subscribed(self) -> set[int]:
        """The processes that have got a message."""
        return {process for (_, process), counts in self._processes.items() if counts.subscribed}

    @property
    def waiting(self) -> int:
        """Messages that wait for one before them."""
        return len(self._window)

    @property
    def full(self) -> bool:
        """Whether as many messages wait as may."""
        return len(self._window) >= self._capacity

    def take(self, delivery: Delivery) -> None:
        """Take one delivery.

        Raises
        ------
        ReductionError
            Frames that cannot be reduced.
        """
        sender, message = delivery.sender, delivery.message
        counts = self._processes.setdefault(
            (sender.consumer, sender.process), ConsumerCounts(process=sender.process)
        )
        counts.take(delivery)
        if message is None or message.unique_id is None:
            return
        if message.unique_id not in self._ids:
            self._tell_outside(counts, message.unique_id)
            self._settle(message)  # stale: it must not push the window on
            return
        self.begun = True
        self._settle_all(self._window.push(message.unique_id, message))
        self._give_up_passed()

    def gone(self, process: int) -> None:
        """A consumer's process is dead: what it had is missing."""
        for counts in self._processes.values():
            counts.silent = counts.silent or counts.process == process
        self._give_up_passed()

    def wait_no_more(self) -> None:
        """Go on without the messages that hold up all that is in the window, and without who owes them."""
        first = self._window.lowest
        if first is None:
            return
        for counts in self._processes.values():
            counts.silent = counts.silent or counts.last_id < first
        self._give_up_passed()

    def close(self) -> SeriesResult | None:
        """End the series: what is missing now is missing. None where no frame came.

        Raises
        ------
        ReductionError
            As of `take`.
        """
        self._settle_all(self._window.flush())
        self._reduce()
        return self._reduction.result() if self._reduction else None

    def ledger(self) -> AcquisitionLedger:
        """The account so far; what waits in the window counts as missing.

        Without an expected number it goes up to the last frame that was settled.
        """
        ledger = self._audit.ledger()
        if self._expected is not None or not ledger.gaps:
            return ledger
        end, rest = ledger.gaps[-1]
        return replace(ledger, expected=end, missing=ledger.missing - rest, gaps=ledger.gaps[:-1])

    def _tell_outside(self, counts: ConsumerCounts, unique_id: int) -> None:
        # Each consumer's first message is the value that the channel has already.
        if counts.delivered > 1 and not self._told_outside:
            self._told_outside = True
            logger.warning(
                "message %d lies outside the series, %d to %d: did the detector's counter start anew? "
                "(--base-id tells where)",
                unique_id,
                self._ids.start,
                self._ids.stop - 1,
            )

    def _give_up_passed(self) -> None:
        """What every consumer has passed cannot come any more."""
        passed = [counts.last_id for counts in self._processes.values() if not counts.silent]
        if passed:
            self._settle_all(self._window.give_up(min(min(passed) + 1, self._ids.stop)))
        else:  # nobody is left to bring what is missing
            self._settle_all(self._window.flush())

    def _settle_all(self, messages: "list[Message | CorruptFrame]") -> None:
        for message in messages:
            self._settle(message)

    def _settle(self, message: Message | CorruptFrame) -> None:
        if not isinstance(message, CorruptFrame) and (misfit := self._misfit(message)):
            message = CorruptFrame(unique_id=message.unique_id, reason=misfit)
        if isinstance(message, CorruptFrame):
            self.corrupt_reason = self.corrupt_reason or message.reason
            self._audit.corrupt(message.unique_id)
            return
        place = self._audit.admit(message.unique_id, message.count)
        if place is None:
            return
        if self._batch and type(self._batch[-1][2]) is not type(message):
            self._reduce()
        self._batch.append((*place, message))
        self._batched += place[1]
        if self._batched >= _BATCH_FRAMES or self.settled:
            self._reduce()

    def _misfit(self, message: Message) -> str:
        shape = _shape(message)
        if message.unique_id in self._ids and self._shape is None:
            self._shape = shape
        if self._shape not in (None, shape):
            return f"message {message.unique_id} is of {shape}, the series of {self._shape}"
        return ""

    def _reduce(self) -> None:
        batch, self._batch, self._batched = self._batch, [], 0
        if not batch:
            return
        if self._reduction is None:
            self._reduction = self._reduction_for(_shape(batch[0][2]))
        self._reduction.push(_joined(batch))


def _shape(message: Message) -> tuple[int, int]:
    return (
        message.shape if isinstance(message, EventFrame) else (message.data.shape[-2], message.data.shape[-1])
    )


def _joined(batch: list[tuple[int, int, Message]]) -> Batch:
    """Messages of one kind as one batch; each with its first index and the number of its frames to take."""
    indices = np.concatenate([np.arange(index, index + count, dtype=np.int64) for index, count, _ in batch])
    dense = [
        message.data.reshape(-1, *_shape(message))[:n]
        for _, n, message in batch
        if isinstance(message, Frame)
    ]
    if dense:
        return FrameBatch(frames=np.concatenate(dense), indices=indices)
    sparse = [(message, count) for _, count, message in batch if isinstance(message, EventFrame)]
    lengths = np.concatenate([np.diff(message.offsets[: count + 1]) for message, count in sparse])
    return EventBatch(
        words=np.concatenate([message.words[: message.offsets[count]] for message, count in sparse]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        indices=indices,
        shape=_shape(sparse[0][0]),
    )
