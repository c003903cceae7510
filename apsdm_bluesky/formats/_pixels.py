"""The pixels of a raw store, as images or as events: what goes into the open block, and the block's files."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from apsdm_bluesky.model import Batch, EventBatch, FrameBatch

from ._events import check_storable, gather, repack, scatter
from ._hashed_file import HashedFile
from ._zarr_layout import ArrayLayout, ColumnWriter, ShardWriter

# Compressed together: a slice of one frame reads little more than the frame.
_CHUNK_BYTES = 512 * 2**10
_CHUNK_EVENTS = 2**17


class Pixels(Protocol):
    """Writes the pixels of a store, block by block."""

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """Of the group `image`; None where `image` is an array."""

    def layouts(self, rows: int) -> dict[ArrayLayout, int]:
        """The arrays and their lengths for so many frames."""

    def append(self, batch: Batch) -> None:
        """Take frames that fit the open block."""

    def finish_block(self) -> Iterator[HashedFile]:
        """The block's files, to be published."""

    def abandon(self) -> None:
        """Leave nothing of the open block."""


class DensePixels:
    """The array ``image`` (n, ny, nx), in shards of a block."""

    attributes = None

    def __init__(
        self, folder: Path, shape: tuple[int, int], dtype: DTypeLike, block: int, pool: Executor, workers: int
    ) -> None:
        self._dtype = np.dtype(dtype)
        frame_bytes = int(np.prod(shape)) * self._dtype.itemsize
        chunk = max(1, min(block, _CHUNK_BYTES // frame_bytes))
        self._block = -(-block // chunk) * chunk
        self._layout = ArrayLayout(
            name="image", shape=shape, dtype=self._dtype, block=self._block, chunk=chunk
        )
        self._shards = ShardWriter(self._layout, folder, pool, workers)
        self._chunk = self._new_chunk()
        self._filled = 0

    @property
    def block(self) -> int:
        """Frames in a block: a whole number of chunks."""
        return self._block

    def layouts(self, rows: int) -> dict[ArrayLayout, int]:
        """The arrays and their lengths for so many frames."""
        return {self._layout: rows}

    def append(self, batch: Batch) -> None:
        """Take frames that fit the open block."""
        place = 0
        while place < len(batch):
            count = min(len(self._chunk) - self._filled, len(batch) - place)
            if count == len(self._chunk) and isinstance(batch, FrameBatch):
                self._shards.put(batch.frames[place : place + count])
            else:
                self._fill(batch, slice(place, place + count))
            place += count
        self._shards.drain()

    def finish_block(self) -> Iterator[HashedFile]:
        """The block's files, to be published."""
        if self._filled:
            self._chunk[self._filled :] = 0
            self._put_chunk()
        yield self._shards.finish_block()

    def abandon(self) -> None:
        """Leave nothing of the open block."""
        self._shards.abandon()

    def _fill(self, batch: Batch, part: slice) -> None:
        target = self._chunk[self._filled : self._filled + part.stop - part.start]
        if isinstance(batch, FrameBatch):
            target[:] = batch.frames[part]
        else:
            _expand(batch, part, target)
        self._filled += len(target)
        if self._filled == len(self._chunk):
            self._put_chunk()

    def _put_chunk(self) -> None:
        self._shards.put(self._chunk)
        self._chunk, self._filled = self._new_chunk(), 0

    def _new_chunk(self) -> NDArray[Any]:
        return np.empty((self._layout.chunk or 1, *self._layout.shape), self._dtype)


class EventPixels:
    """The group ``image``: ``events`` in shards of a block, and where each frame's lie, ``spans`` (n, 2).

    The place of a block's first event is fixed, with room before it for any number in the block before: a
    chunk that holds no event takes no place on the disk.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int], dtype: DTypeLike, block: int, pool: Executor, workers: int
    ) -> None:
        check_storable(dtype)
        self.block = block
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._pixels = int(np.prod(shape))
        self._room = -(-block * self._pixels // _CHUNK_EVENTS) * _CHUNK_EVENTS
        events = ArrayLayout(
            name="image/events", shape=(), dtype=np.uint64, block=self._room, chunk=_CHUNK_EVENTS
        )
        self._spans = ColumnWriter(
            ArrayLayout(name="image/spans", shape=(2,), dtype=np.int64, block=block), folder
        )
        self._shards = ShardWriter(events, folder, pool, workers)
        self._scratch = np.empty(self._pixels, np.uint64)
        self._chunk = np.empty(_CHUNK_EVENTS, np.uint64)
        self._filled = 0
        self._blocks = 0
        self._next = 0  # where the next event goes, in `events`

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """Of the group `image`."""
        return {"layout": "events", "frame_shape": list(self._shape), "dtype": self._dtype.name}

    def layouts(self, rows: int) -> dict[ArrayLayout, int]:
        """The arrays and their lengths for so many frames."""
        return {self._shards.layout: -(-rows // self.block) * self._room, self._spans.layout: rows}

    def append(self, batch: Batch) -> None:
        """Take frames that fit the open block."""
        if isinstance(batch, FrameBatch):
            counts = np.array([self._take_frame(frame) for frame in batch.frames])
        else:
            counts = self._take_events(batch)
        stops = self._next + np.cumsum(counts)
        self._spans.append(np.stack([stops - counts, stops], axis=1))
        self._next = int(stops[-1])
        self._shards.drain()

    def finish_block(self) -> Iterator[HashedFile]:
        """The block's files, to be published."""
        if self._filled:
            self._chunk[self._filled :] = 0
            self._put_chunk()
        self._blocks += 1  # of dark frames, too: their shard holds no event
        self._next = self._blocks * self._room
        yield self._shards.finish_block()
        yield self._spans.finish_block()

    def abandon(self) -> None:
        """Leave nothing of the open block."""
        self._shards.abandon()

    def _take_frame(self, frame: NDArray[Any]) -> int:
        found = gather(frame, self._scratch)
        self._put(self._scratch[:found])
        return found

    def _take_events(self, batch: EventBatch) -> NDArray[np.int64]:
        counts = np.diff(batch.offsets)
        if counts.max() > self._pixels:  # pixels named more than once, and no room for that
            return np.array([self._take_frame(frame) for frame in dense_frames(batch, self._dtype)])
        self._put(batch.words[batch.offsets[0] : batch.offsets[-1]], packed=True)
        return counts

    def _put(self, events: NDArray[np.uint64], *, packed: bool = False) -> None:
        place = 0
        while place < len(events):
            count = min(len(self._chunk) - self._filled, len(events) - place)
            target = self._chunk[self._filled : self._filled + count]
            if packed:
                repack(events[place : place + count], target)
            else:
                target[:] = events[place : place + count]
            self._filled += count
            place += count
            if self._filled == len(self._chunk):
                self._put_chunk()

    def _put_chunk(self) -> None:
        self._shards.put(self._chunk)
        self._chunk, self._filled = np.empty(_CHUNK_EVENTS, np.uint64), 0


def dense_frames(batch: EventBatch, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """The frames one by one, in the same memory."""
    frames = np.zeros((1, *batch.shape), dtype)
    for row in range(len(batch)):
        _expand(batch, slice(row, row + 1), frames)
        yield frames[0]


def _expand(batch: EventBatch, part: slice, frames: NDArray[Any]) -> None:
    """Some of the frames of a batch of events."""
    frames[:] = 0
    for row, frame in zip(range(part.start, part.stop), frames, strict=True):
        words = batch.words[batch.offsets[row] : batch.offsets[row + 1]]
        events = np.empty_like(words)
        repack(words, events)
        scatter(events, frame)
