"""Where consumers find the frames of a device."""

import threading
from pathlib import Path

from apsdm_bluesky.config import Overflow

from ._lane import Consumer, Lane


class FrameStream:
    """The subscriptions to a device's frames.

    Each acquisition feeds those that are attached when it begins.

    Parameters
    ----------
    spill_folder
        Where consumers that ``spill`` may do so.
    """

    def __init__(self, *, spill_folder: Path | None = None) -> None:
        self.spill_folder = spill_folder
        self._lock = threading.Lock()
        self._attached: list[tuple[Consumer, Overflow]] = []

    def attach(self, consumer: Consumer, *, overflow: Overflow) -> None:
        """Give `consumer` the frames of the acquisitions to come."""
        with self._lock:
            self._attached.append((consumer, overflow))

    def detach(self, consumer: Consumer) -> None:
        """Give it no acquisition more; one that has begun goes on to its end. Idempotent."""
        with self._lock:
            self._attached = [entry for entry in self._attached if entry[0] is not consumer]

    def lanes(self) -> list[Lane]:
        """A fresh lane for each attached consumer."""
        with self._lock:
            return [
                Lane(consumer, overflow, spill_folder=self.spill_folder)
                for consumer, overflow in self._attached
            ]
