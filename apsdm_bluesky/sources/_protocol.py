"""What every source of frames offers, real or replayed."""

from collections.abc import Callable
from typing import Protocol

from apsdm_bluesky.model import CorruptFrame, EventFrame, Frame

Message = Frame | EventFrame
FrameSink = Callable[[Message | CorruptFrame], None]


class FrameSource(Protocol):
    """A stream of frames.

    One start and one stop make a subscription; it may be repeated any number of times.
    """

    def start(self, sink: FrameSink, *, queue_size: int) -> None:
        """Subscribe: `sink` is called for each update, on a thread of the source's own.

        Returns when the subscription is live: every message sent from now on reaches `sink` unless the
        source's queue of `queue_size` messages overflows. A value left from before may be sent first.

        Raises
        ------
        ServiceError
            The source does not answer.
        """
        ...

    def stop(self) -> None:
        """End the subscription. After it returns `sink` is not called again. Idempotent.

        `sink` may call it, too.
        """
        ...

    def latest(self) -> Message | None:
        """The last message sent, which may never have been delivered; None when there is none."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the source answers."""
        ...
