"""The one pass over a batch that all intensities come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch

from ._checks import INT64_MAX, check_event_arrays, check_pixel, flat_frames, read_only
from ._columns import Columns
from ._intensity_kernels import sum_events, sum_frames
from ._kernels import highest
from ._workers import Workers

# What a loop is told beside the frames: nx, table, sums, moments, low, high.
Arrays = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameSums:
    """What the frames of a batch have counted.

    Parameters
    ----------
    indices
        (n,) int64.
    columns
        (n, ncolumns) int64: counts in each set of pixels.
    moments
        (n, 2) int64: sums of count * x and count * y over the good pixels, modulo 2^64.
    """

    indices: NDArray[np.int64]
    columns: NDArray[np.int64]
    moments: NDArray[np.int64]


class FramePass:
    """Checks batches, adds their frames to an image, and tells what each frame counts in each column.

    The frames of a batch are dealt to the workers; each has an image of its own (9 bytes a pixel).
    """

    def __init__(self, columns: Columns, workers: Workers) -> None:
        pixels = columns.shape[0] * columns.shape[1]
        self._columns, self._workers = columns, workers
        self._low = np.zeros((workers.threads, pixels), np.uint8)
        self._high = np.zeros((workers.threads, pixels), np.int64)
        self._pixel_bound = 0  # what a pixel's sum may have reached by now
        self._photons = 0
        self._last = -1
        self.frames = 0

    def sums(self, batch: Batch) -> FrameSums | None:
        """Take a batch: add it to the image and return the sums of its frames; None if it is empty.

        Raises
        ------
        ReductionError
            As `Intensities.push`. Nothing was added then.
        """
        if len(batch) == 0:
            return None
        sums = self._of_events(batch) if isinstance(batch, EventBatch) else self._of_frames(batch)
        self.frames += len(batch)
        self._last = int(sums.indices[-1])
        return sums

    def sum_image(self) -> NDArray[np.int64]:
        """(ny, nx), of all frames so far, bad pixels included."""
        image: NDArray[np.int64] = self._high.sum(axis=0) + self._low.sum(axis=0, dtype=np.int64)
        return image.reshape(self._columns.shape)

    def _of_events(self, batch: EventBatch) -> FrameSums:
        check_event_arrays(batch, self._columns.shape, self._last)
        words, offsets = read_only(batch.words), read_only(batch.offsets)
        found = self._in_parts(len(words), lambda _, part: highest(words[part]))
        check_pixel(int(found[:, 0].max()), self._columns.shape)
        bound = len(words) * int(found[:, 1].max())
        self._reserve(pixel=bound, photons=bound)

        def task(part: slice, arrays: Arrays) -> tuple[int, int]:
            sum_events(words, offsets[part.start : part.stop + 1], *arrays)
            return 0, 0

        sums, _ = self._summed(batch, task)
        self._photons += int(sums.columns.sum()) - bound
        return sums

    def _of_frames(self, batch: FrameBatch) -> FrameSums:
        flat = read_only(flat_frames(batch, self._columns.shape, self._last))
        bound = len(flat) * _largest(flat)
        self._reserve(pixel=bound)
        sums, found = self._summed(batch, lambda part, arrays: sum_frames(flat[part], *arrays))
        try:
            self._check_frames(flat, sums, int(found[:, 0].min()), int(found[:, 1].max()))
        except ReductionError:
            self._high[0] -= flat.sum(axis=0, dtype=np.int64)  # exact: sums wrap back as they have wrapped
            self._pixel_bound -= bound
            raise
        return sums

    def _summed(
        self, batch: Batch, task: Callable[[slice, Arrays], tuple[int, int]]
    ) -> tuple[FrameSums, NDArray[np.int64]]:
        """Run the loop over the frames in parts, side by side; also what each part has returned."""
        columns = self._columns
        sums = np.zeros((len(batch), columns.count + 1), np.uint64)
        moments = np.zeros((len(batch), 2), np.uint64)

        def run(number: int, part: slice) -> tuple[int, int]:
            image = (self._low[number], self._high[number])
            return task(part, (columns.shape[1], columns.table, sums[part], moments[part], *image))

        found = self._in_parts(len(batch), run)
        result = FrameSums(
            indices=batch.indices.astype(np.int64),
            columns=sums[:, :-1].view(np.int64),
            moments=moments.view(np.int64),
        )
        return result, found

    def _in_parts(self, number: int, task: Callable[[int, slice], tuple[int, int]]) -> NDArray[np.int64]:
        """Cut so many things into a part for each worker; returns what the parts have, (nparts, 2)."""
        threads = self._workers.threads
        cuts = np.linspace(0, number, threads + 1).astype(np.int64).tolist()
        found = np.zeros((threads, 2), np.int64)

        def run(part: int) -> None:
            found[part] = task(part, slice(cuts[part], cuts[part + 1]))

        self._workers.run(run, threads)
        return found

    def _reserve(self, *, pixel: int = 0, photons: int = 0) -> None:
        """Refuse so many more counts in one pixel, or in all good ones, if a sum could leave int64."""
        if self._pixel_bound + pixel > INT64_MAX:
            raise ReductionError(
                f"sum image: {pixel} more counts could exceed 64 bits; mask them at the source"
            )
        if self._photons + photons > INT64_MAX:
            raise ReductionError("intensity: the sum of all counts exceeds 64 bits; mask the bright pixels")
        self._pixel_bound += pixel
        self._photons += photons

    def _check_frames(self, flat: NDArray[Any], sums: FrameSums, lowest: int, highest: int) -> None:
        if lowest < 0:
            raise self._negative(flat)
        if highest * flat.shape[1] > INT64_MAX:
            raise ReductionError(f"totals: counts up to {highest} could exceed 64 bits; mask them")
        self._reserve(photons=sum(sums.columns.sum(axis=1).tolist()))  # Python's integers cannot overflow

    def _negative(self, flat: NDArray[Any]) -> ReductionError:
        good = self._columns.table < self._columns.count
        frame, pixel = np.argwhere(good & ((flat < 0) | (flat > INT64_MAX)))[0]
        y, x = divmod(int(pixel), self._columns.shape[1])
        return ReductionError(f"pixel (x={x}, y={y}) counts {flat[frame, pixel]} photons: mask it")


def _largest(flat: NDArray[Any]) -> int:
    """The largest count, good or not, without its sign; of small types what they can hold."""
    if flat.dtype.itemsize <= 4:
        return max(int(np.iinfo(flat.dtype).max), -int(np.iinfo(flat.dtype).min))
    return max(int(flat.max()), -int(flat.min()))
