"""The ring: preallocated blocks that go from the receiver to consumers without a copy."""

import mmap
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.model import Batch, EventBatch, EventFrame, Frame, FrameBatch

from ._info import AcquisitionInfo

# Big enough to amortise hand-over and kernels, small enough to keep several blocks in the ring.
BATCH_FRAMES = 256
_MIN_MESSAGES = 4
# A slow consumer may hold half of them, and each of the others needs one to work at while one is filled.
_BLOCKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """The memory of one block: `data` is frames (n, ny, nx), or packed words and their `offsets` (n + 1,)."""

    data: NDArray[Any]
    indices: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    offsets: NDArray[np.int64]


class Block(ABC):
    """Room for one batch. Its buffers go back to its pool when the last holder has released it."""

    def __init__(self, pool: "BlockPool", buffers: Buffers) -> None:
        self._pool = pool
        self._info = pool.info
        self.buffers = buffers
        self.count = 0
        self.holders = 1

    @property
    def full(self) -> bool:
        """Whether no message of the usual size fits any more."""
        return self.count + self._info.frames_per_message > len(self.buffers.indices)

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
            self.buffers.indices[self.count] = index
        else:
            self.buffers.indices[place] = np.arange(index, index + count)
        self.buffers.timestamps[place] = timestamp
        self.count += count
        return place


class DenseBlock(Block):
    """Frames as images."""

    def fits(self, message: Frame | EventFrame) -> bool:
        """Whether there is room for all of a message."""
        return self.count + message.count <= len(self.buffers.indices)

    def append(self, index: int, count: int, message: Frame) -> None:
        """Copy the first `count` frames of a message in."""
        data = message.data if message.data.ndim == 3 else message.data[None]
        np.copyto(self.buffers.data[self._number(index, count, message.timestamp)], data[:count])

    def batch(self) -> FrameBatch:
        """The frames so far, as read-only views that hold until the block is released."""
        frames, indices, timestamps = _read_only(
            self.count, self.buffers.data, self.buffers.indices, self.buffers.timestamps
        )
        return FrameBatch(frames=frames, indices=indices, timestamps=timestamps)


class EventBlock(Block):
    """Frames as packed words."""

    def fits(self, message: Frame | EventFrame) -> bool:
        """Whether there is room for all of a message."""
        words = message.words.size if isinstance(message, EventFrame) else 0
        room = len(self.buffers.data) - self._words()
        return self.count + message.count <= len(self.buffers.indices) and words <= room

    def append(self, index: int, count: int, message: EventFrame) -> None:
        """Copy the first `count` frames of a message in."""
        begin, words = self._words(), int(message.offsets[count])
        place = self._number(index, count, message.timestamp)
        np.copyto(self.buffers.data[begin : begin + words], message.words[:words])
        self.buffers.offsets[place.start + 1 : place.stop + 1] = message.offsets[1 : count + 1] + begin

    def batch(self) -> EventBatch:
        """The frames so far, as read-only views that hold until the block is released."""
        (words,) = _read_only(self._words(), self.buffers.data)
        (offsets,) = _read_only(self.count + 1, self.buffers.offsets)
        indices, timestamps = _read_only(self.count, self.buffers.indices, self.buffers.timestamps)
        return EventBatch(
            words=words, offsets=offsets, indices=indices, timestamps=timestamps, shape=self._info.frame_shape
        )

    def _words(self) -> int:
        return int(self.buffers.offsets[self.count])


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
        self.info = info
        self.block_bytes = nbytes // _BLOCKS  # of packed events
        self._changed = threading.Condition()
        self._closed = False
        # Buffers only: a pool that knew its blocks, which know it, would keep its memory until a full
        # garbage collection.
        self._free = self._event_buffers() if info.events else self._dense_buffers(nbytes)
        self.block_count = len(self._free)

    def _dense_buffers(self, nbytes: int) -> list[Buffers]:
        info, each = self.info, self.info.frames_per_message
        messages = nbytes // self.message_bytes
        if messages < _MIN_MESSAGES:
            raise ConfigError(
                f"ring_mb: {nbytes / 2**20:.1f} MB hold {messages} messages of {each} x {info.frame_shape} "
                f"{info.dtype}, not {_MIN_MESSAGES}"
            )
        frames = each * min(max(1, BATCH_FRAMES // each), max(1, messages // _BLOCKS))
        shape = (frames, *info.frame_shape)
        return [_buffers(frames, _touched(shape, info.dtype)) for _ in range(messages * each // frames)]

    def _event_buffers(self) -> list[Buffers]:
        each = self.info.frames_per_message
        frames, words = each * max(1, BATCH_FRAMES // each), self.block_bytes // 8
        return [_buffers(frames, _touched((words,), np.uint64)) for _ in range(_BLOCKS)]

    @property
    def message_bytes(self) -> int:
        """The most that a message may hold: all its pixels, or as many events as a block has room for."""
        if self.info.events:
            return self.block_bytes
        pixels = self.info.frames_per_message * int(np.prod(self.info.frame_shape))
        return pixels * np.dtype(self.info.dtype).itemsize

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
            buffers = self._free.pop()
        return EventBlock(self, buffers) if self.info.events else DenseBlock(self, buffers)

    def hold(self, block: Block) -> None:
        """One holder more."""
        with self._changed:
            block.holders += 1

    def release(self, block: Block) -> None:
        """One holder less."""
        with self._changed:
            block.holders -= 1
            if block.holders == 0:
                self._free.append(block.buffers)
                self._changed.notify()

    def close(self) -> None:
        """Let nobody wait for a block any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def reopen(self, info: AcquisitionInfo) -> bool:
        """Serve another acquisition; False where its messages are others, or consumers hold half the blocks.

        What they hold comes back to this pool when they are done with it.
        """
        with self._changed:
            enough = len(self._free) > self.block_count // 2
            if self._layout(info) != self._layout(self.info) or not enough:
                return False
            self.info, self._closed = info, False
        return True

    @staticmethod
    def _layout(info: AcquisitionInfo) -> tuple[object, ...]:
        return info.frame_shape, info.dtype, info.frames_per_message, info.events


class Ring:
    """The memory of a device for frames, kept from one acquisition to the next.

    Parameters
    ----------
    nbytes
        For all frames together.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._pool: BlockPool | None = None

    def pool(self, info: AcquisitionInfo) -> BlockPool:
        """Blocks for an acquisition: the last one's where they fit and most are free.

        Raises
        ------
        ConfigError
            Fewer than four messages fit.
        """
        if self._pool is None or not self._pool.reopen(info):
            self._pool = None  # let go of the old one first
            self._pool = BlockPool(self._nbytes, info)
        return self._pool


def _buffers(frames: int, data: NDArray[Any]) -> Buffers:
    return Buffers(
        data=data,
        indices=np.empty(frames, np.int64),
        timestamps=np.empty(frames, np.float64),
        offsets=np.zeros(frames + 1, np.int64),
    )


def _touched(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array whose pages the system has given already: to get them costs as much as to copy a frame."""
    array: NDArray[Any] = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE] = 0
    return array


def _read_only(count: int, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    views = tuple(array[:count] for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views
