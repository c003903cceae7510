"""The ring: preallocated blocks of frames that go from the receiver to consumers without a copy."""

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.model import FrameBatch

# Big enough to amortise hand-over and kernels, small enough to keep several blocks in the ring.
BATCH_FRAMES = 256
_MIN_BLOCKS = 4


class Block:
    """Room for one batch. It goes back to its pool when the last holder has released it."""

    def __init__(self, pool: "BlockPool", shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._pool = pool
        self._frames: NDArray[Any] = np.empty(shape, dtype)
        self._indices = np.empty(shape[0], np.int64)
        self._timestamps = np.empty(shape[0], np.float64)
        self.count = 0
        self.holders = 0

    @property
    def full(self) -> bool:
        """Whether no frame fits any more."""
        return self.count == len(self._indices)

    def append(self, index: int, timestamp: float, data: NDArray[Any]) -> None:
        """Copy one frame in."""
        np.copyto(self._frames[self.count], data)
        self._indices[self.count] = index
        self._timestamps[self.count] = timestamp
        self.count += 1

    def batch(self) -> FrameBatch:
        """The frames so far, as read-only views that hold until the block is released."""
        views = self._frames[: self.count], self._indices[: self.count], self._timestamps[: self.count]
        for view in views:
            view.flags.writeable = False
        return FrameBatch(frames=views[0], indices=views[1], timestamps=views[2])

    def release(self) -> None:
        """One holder is done with it."""
        self._pool.release(self)


class BlockPool:
    """A fixed number of blocks, so that memory is bounded whatever the consumers do.

    Parameters
    ----------
    nbytes
        Memory for all frames together.
    frame_shape, dtype
        (ny, nx) and type of each frame.

    Raises
    ------
    ConfigError
        Fewer than four frames fit.
    """

    def __init__(self, nbytes: int, frame_shape: tuple[int, int], dtype: DTypeLike) -> None:
        slots = nbytes // (int(np.prod(frame_shape)) * np.dtype(dtype).itemsize)
        if slots < _MIN_BLOCKS:
            raise ConfigError(
                f"ring_mb: {nbytes / 2**20:.1f} MB hold {slots} frames of {frame_shape}, not {_MIN_BLOCKS}"
            )
        frames = min(BATCH_FRAMES, slots // _MIN_BLOCKS)
        self.block_count = slots // frames
        self._changed = threading.Condition()
        self._closed = False
        self._free = [Block(self, (frames, *frame_shape), dtype) for _ in range(self.block_count)]

    def acquire(self) -> Block | None:
        """An empty block; waits while all are in use (back-pressure). None once the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                return None
            block = self._free.pop()
        block.count, block.holders = 0, 1
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
