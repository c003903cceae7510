"""Events of consecutive frames, gathered from small batches."""

import numpy as np
from numpy.typing import NDArray


class EventGather:
    """Copies of frames' events, to be taken all at once.

    The arrays are kept and used again: `take` gives views, good until the next `add`.

    Parameters
    ----------
    most
        Frames that it holds.
    words
        Events that there is room for from the first one on: room takes memory only where it is used, and
        growing costs a copy and the first touch of new memory. More is made when needed.
    """

    def __init__(self, most: int, words: int) -> None:
        self._slots = np.empty(most, np.int64)
        self._offsets = np.zeros(most + 1, np.int64)
        self._words = np.empty(words, np.uint64)
        self._frames = 0

    def __len__(self) -> int:
        return self._frames

    @property
    def words(self) -> int:
        """Events that it holds."""
        return int(self._offsets[self._frames])

    @property
    def last(self) -> int:
        """The slot of the last frame; asked for only where there is one."""
        return int(self._slots[self._frames - 1])

    def add(self, slots: NDArray[np.int64], words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Copy frames: slots (n,), offsets (n + 1,) into words."""
        begin, number = self.words, int(offsets[-1] - offsets[0])
        if len(self._words) < begin + number:
            larger = np.empty(2 * (begin + number), np.uint64)
            larger[:begin] = self._words[:begin]
            self._words = larger
        self._words[begin : begin + number] = words[offsets[0] : offsets[-1]]
        frames = slice(self._frames, self._frames + len(slots))
        self._slots[frames] = slots
        self._offsets[frames.start + 1 : frames.stop + 1] = offsets[1:] - offsets[0] + begin
        self._frames = frames.stop

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
        """Slots, words and offsets of all frames; none are left."""
        n, self._frames = self._frames, 0
        return self._slots[:n], self._words, self._offsets[: n + 1]
