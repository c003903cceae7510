"""How counts come into the rows of a two-time correlation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch

from ._checks import check_events, counts_at, flat_frames
from ._kernels import add_to_image
from ._qmap import QMap
from ._twotime_kernels import add_events, add_frames, take_frame
from ._twotime_layout import Layout
from ._workers import Workers

# A pixel's total: with it the sum of any frames fits 32 bits.
MAX_TOTAL = 2**32 - 1
_BYTE = 255
# Pixels in a cache line, of 2 bytes each.
_LINE = 32


class Intake:
    """Checks batches, and adds their frames to rows with the columns of a layout.

    Parameters
    ----------
    totals
        Returns the sum of all frames so far, shape (columns,).
    """

    def __init__(
        self, qmap: QMap, layout: Layout, workers: Workers, totals: Callable[[], NDArray[np.uint64]]
    ) -> None:
        self._shape = qmap.shape
        # In the order of the image: frames are read once, from front to back.
        order = np.argsort(layout.pixels)
        self._pixels, self._columns = layout.pixels[order], layout.places[order]
        self._places = np.full(qmap.mask.size, -1, np.int32)
        self._places[self._pixels] = self._columns
        self._lines = self._pixels[np.flatnonzero(np.diff(self._pixels // _LINE, prepend=-1))]
        self._width = int(layout.columns[-1])
        self._cuts = np.linspace(0, len(self._pixels), workers.threads + 1).astype(int)
        self._workers = workers
        self._totals = totals
        self._bound = 0
        self._last = -1

    def check(self, batch: Batch) -> None:
        """Take note of a batch that has frames.

        Raises
        ------
        ReductionError
            Frames that do not fit (see `MultiTau.push`), or a pixel whose total would pass 2^32 - 1 counts.
        """
        if isinstance(batch, EventBatch):
            highest = check_events(batch, self._shape, self._last)
            self._raise_bound(batch, len(batch.words) * highest)
        else:
            frames = flat_frames(batch, self._shape, self._last)
            self._raise_bound(batch, len(frames) * self._highest(frames))
        self._last = int(batch.indices[-1])

    def add(self, batch: Batch, start: int, stop: int, row: NDArray[np.uint32]) -> None:
        """Add the frames from start to stop of a batch to one row."""
        if isinstance(batch, EventBatch):
            add_events(batch.words[batch.offsets[start] : batch.offsets[stop]], self._places, row)
            return
        frames = _flat(batch, start, stop)

        def add_part(part: int) -> None:
            own = slice(self._cuts[part], self._cuts[part + 1])
            add_frames(frames, self._pixels[own], self._columns[own], row)

        self._workers.run(add_part, self._workers.threads)

    def rows(self, batch: Batch, start: int, stop: int) -> list[NDArray[np.uint8] | None]:
        """Each frame from start to stop as a row of its own, of one byte a column; None: counts need more."""
        rows: list[NDArray[np.uint8] | None] = [None] * (stop - start)
        cuts = np.linspace(0, stop - start, self._workers.threads + 1).astype(int)
        add = (
            self._event_adder(batch)
            if isinstance(batch, EventBatch)
            else self._frame_taker(batch, start, stop)
        )

        def take(part: int) -> None:
            for k in range(cuts[part], cuts[part + 1]):
                row = np.zeros(self._width, np.uint8)
                rows[k] = row if add(start + k, row) <= _BYTE else None

        self._workers.run(take, self._workers.threads)
        return rows

    def _event_adder(self, batch: EventBatch) -> Callable[[int, NDArray[np.uint8]], int]:
        words, offsets, places = batch.words, batch.offsets, self._places
        return lambda k, row: int(add_events(words[offsets[k] : offsets[k + 1]], places, row))

    def _frame_taker(
        self, batch: FrameBatch, start: int, stop: int
    ) -> Callable[[int, NDArray[np.uint8]], int]:
        frames, lines, pixels, columns = _flat(batch, start, stop), self._lines, self._pixels, self._columns
        return lambda k, row: int(take_frame(frames[k - start], lines, pixels, columns, row))

    def _highest(self, frames: NDArray[Any]) -> int:
        """A bound of the used pixels' counts: that of a narrow dtype, else what they are."""
        if frames.dtype.kind == "u" and frames.itemsize <= 2:
            return int(np.iinfo(frames.dtype).max)
        pixels = self._pixels.astype(np.int64)
        return max(int(counts_at(frame[np.newaxis], pixels).max(initial=0)) for frame in frames)

    def _raise_bound(self, batch: Batch, counts: int) -> None:
        """What a pixel may have counted by now; the pixels are added up only when that seems too much."""
        bound = self._bound + counts
        if bound > MAX_TOTAL:
            totals = self._totals()[self._columns] + self._sums(batch)
            bound = int(totals.max())
            if bound > MAX_TOTAL:
                y, x = divmod(int(self._pixels[int(totals.argmax())]), self._shape[1])
                raise ReductionError(f"two-time: pixel (x={x}, y={y}) passes {MAX_TOTAL} counts: mask it")
        self._bound = bound

    def _sums(self, batch: Batch) -> NDArray[np.uint64]:
        """The batch's total of each used pixel; of a frame at most 2^32, which is too much already."""
        if isinstance(batch, EventBatch):
            image = np.zeros(self._places.size, np.int64)
            add_to_image(batch.words, image)
            return image[self._pixels].astype(np.uint64)
        sums = np.zeros(len(self._pixels), np.uint64)
        for frame in batch.frames:
            sums += np.minimum(frame.ravel()[self._pixels].astype(np.uint64), np.uint64(MAX_TOTAL + 1))
        return sums


def _flat(batch: FrameBatch, start: int, stop: int) -> NDArray[Any]:
    frames = batch.frames[start:stop].reshape(stop - start, -1)
    return np.ascontiguousarray(frames, frames.dtype.newbyteorder("="))
