"""The ring: preallocated blocks that go from the receiver to consumers without a copy."""

import mmap
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.model import Batch, EventBatch, EventFrame, Frame, FrameBatch

from ._info import AcquisitionInfo

# Big enough to amortise hand-over and kernels, small enough to keep several blocks in the ring.
BATCH_FRAMES = 256
_MIN_BLOCKS = 4
_EVENT_BLOCKS = 8


class Block(ABC):
    """Room for one batch. It goes back to its pool when the last holder has released it."""

    def __init__(self, pool: "BlockPool", frames: int) -> None:
        self._pool = pool
        self._indices = np.empty(frames, np.int64)
        self._timestamps = np.empty(frames, np.float64)
        self.count = 0
        self.holders = 0

    @property
    def full(self) -> bool:
        """Whether no message of the usual size fits any more."""
        return self.count + self._pool.frames_per_message > len(self._indices)

    def clear(self) -> None:
        """Make it empty."""
        self.count = 0

    @abstractmethod
    def fits(self, message: Frame | EventFrame) -> bool:
        """Whether there is room for all of a message."""

    @abstractmethod
    def append(self, index: int, count: int, message: Any) -> None:
        """Copy the first `count` frames of a message in."""

    @abstractmethod
    def batch(self) -> Batch:
        """The frames so far, as read-only views that hold until the block is released."""

    def release(self) -> None:
        """One holder is done with it."""
        self._pool.release(self)

    def _number(self, index: int, count: int, timestamp: float) -> slice:
        place = slice(self.count, self.count + count)
        if count == 1:
            self._indices[self.count] = index
        else:
            self._indices[place] = np.arange(index, index + count)
        self._timestamps[place] = timestamp
        self.count += count
        return place


class DenseBlock(Block):
    """Frames as images."""

    def __init__(self, pool: "BlockPool", frames: int, info: AcquisitionInfo) -> None:
        super().__init__(pool, frames)
        self._frames = _touched((frames, *info.frame_shape), info.dtype)

    def fits(self, message: Frame | EventFrame) -> bool:
        """Whether there is room for all of a message."""
        return self.count + message.count <= len(self._indices)

    def append(self, index: int, count: int, message: Frame) -> None:
        """Copy the first `count` frames of a message in."""
        data = message.data if message.data.ndim == 3 else message.data[None]
        np.copyto(self._frames[self._number(index, count, message.timestamp)], data[:count])

    def batch(self) -> FrameBatch:
        """The frames so far, as read-only views that hold until the block is released."""
        frames, indices, timestamps = _read_only(
            self._frames[: self.count], self._indices[: self.count], self._timestamps[: self.count]
        )
        return FrameBatch(frames=frames, indices=indices, timestamps=timestamps)


class EventBlock(Block):
    """Frames as packed words."""

    def __init__(self, pool: "BlockPool", frames: int, words: int, info: AcquisitionInfo) -> None:
        super().__init__(pool, frames)
        self._shape = info.frame_shape
        self._words = _touched((words,), np.uint64)
        self._offsets = np.zeros(frames + 1, np.int64)

    def fits(self, message: Frame | EventFrame) -> bool:
        """Whether there is room for all of a message."""
        room = len(self._words) - int(self._offsets[self.count])
        words = message.words.size if isinstance(message, EventFrame) else 0
        return self.count + message.count <= len(self._indices) and words <= room

    def append(self, index: int, count: int, message: EventFrame) -> None:
        """Copy the first `count` frames of a message in."""
        begin = int(self._offsets[self.count])
        words = int(message.offsets[count])
        place = self._number(index, count, message.timestamp)
        np.copyto(self._words[begin : begin + words], message.words[:words])
        self._offsets[place.start + 1 : place.stop + 1] = message.offsets[1 : count + 1] + begin

    def batch(self) -> EventBatch:
        """The frames so far, as read-only views that hold until the block is released."""
        words, offsets, indices, timestamps = _read_only(
            self._words[: self._offsets[self.count]],
            self._offsets[: self.count + 1],
            self._indices[: self.count],
            self._timestamps[: self.count],
        )
        return EventBatch(
            words=words, offsets=offsets, indices=indices, timestamps=timestamps, shape=self._shape
        )


class BlockPool:
    """A fixed number of blocks, so that memory is bounded whatever the consumers do.

    Parameters
    ----------
    nbytes
        Memory for all frames together.
    info
        Of the acquisition: what a message holds.

    Raises
    ------
    ConfigError
        Fewer than four messages fit.
    """

    def __init__(self, nbytes: int, info: AcquisitionInfo) -> None:
        self.frames_per_message = info.frames_per_message
        self.block_bytes = nbytes // _EVENT_BLOCKS  # of packed events
        self._changed = threading.Condition()
        self._closed = False
        build, self.block_count = self._events(info) if info.events else self._dense(nbytes, info)
        self._free = [build() for _ in range(self.block_count)]

    def _dense(self, nbytes: int, info: AcquisitionInfo) -> tuple[Callable[[], Block], int]:
        each = info.frames_per_message
        messages = nbytes // (each * int(np.prod(info.frame_shape)) * np.dtype(info.dtype).itemsize)
        if messages < _MIN_BLOCKS:
            raise ConfigError(
                f"ring_mb: {nbytes / 2**20:.1f} MB hold {messages} messages of {each} x {info.frame_shape} "
                f"{info.dtype}, not {_MIN_BLOCKS}"
            )
        frames = each * min(max(1, BATCH_FRAMES // each), messages // _MIN_BLOCKS)
        return lambda: DenseBlock(self, frames, info), messages * each // frames

    def _events(self, info: AcquisitionInfo) -> tuple[Callable[[], Block], int]:
        frames = self.frames_per_message * max(1, BATCH_FRAMES // self.frames_per_message)
        words = self.block_bytes // 8
        return lambda: EventBlock(self, frames, words, info), _EVENT_BLOCKS

    @property
    def short(self) -> bool:
        """Whether a source that fills one block more may have to wait for the next."""
        with self._changed:
            return len(self._free) < 2

    def acquire(self) -> Block | None:
        """An empty block; waits while all are in use (back-pressure). None once the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                return None
            block = self._free.pop()
        block.clear()
        block.holders = 1
        return block

    def hold(self, block: Block) -> None:
        """One holder more."""
        with self._changed:
            block.holders += 1

    def release(self, block: Block) -> None:
        """One holder less."""
        with self._changed:
            block.holders -= 1
            if block.holders == 0:
                self._free.append(block)
                self._changed.notify()

    def close(self) -> None:
        """Let nobody wait for a block any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _touched(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array whose pages the system has given already: to get them costs as much as to copy a frame."""
    array: NDArray[Any] = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE] = 0
    return array


def _read_only(*views: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    for view in views:
        view.flags.writeable = False
    return views
