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
from ._sum_image import SumImage
from ._workers import Workers


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
        (n, 2) int64: sums of count times x, and times y, over the good pixels; modulo 2^64.
    """

    indices: NDArray[np.int64]
    columns: NDArray[np.int64]
    moments: NDArray[np.int64]


class FramePass:
    """Checks batches, sums each of their frames by columns, and all of them into an image.

    Parameters
    ----------
    image
        Whether to sum the image.
    """

    def __init__(self, columns: Columns, workers: Workers, *, image: bool) -> None:
        self._columns, self._workers = columns, workers
        self._image = SumImage(columns.shape, workers) if image else None
        self._photons = 0
        self.frames = 0
        self._last = -1

    def sums(self, batch: Batch) -> FrameSums | None:
        """Take a batch: add it to the image and return the sums of its frames; None if it is empty.

        Raises
        ------
        ReductionError
            As `Intensities.push`. Nothing was added then.
        """
        if len(batch) == 0:
            return None
        if isinstance(batch, EventBatch):
            sums, add = self._of_events(batch)
        else:
            sums, add = self._of_frames(batch)
        self._count_photons(sums)
        add()
        self.frames += len(batch)
        self._last = int(sums.indices[-1])
        return sums

    def sum_image(self) -> NDArray[np.int64]:
        """(ny, nx), of all frames so far."""
        if self._image is None:
            raise ReductionError("this pass sums no image")
        return self._image.result()

    def _of_events(self, batch: EventBatch) -> tuple[FrameSums, Callable[[], None]]:
        check_event_arrays(batch, self._columns.shape, self._last)
        words, offsets = read_only(batch.words), read_only(batch.offsets)
        sums, found = self._run(
            batch,
            lambda start, stop, *out: sum_events(words, offsets[start : stop + 1], *out),
        )
        check_pixel(int(found[:, 0].max()), self._columns.shape)
        image, highest = self._image, int(found[:, 1].max())
        if image is None:
            return sums, _nothing
        image.reserve(len(words), highest)
        return sums, lambda: image.add_words(words, highest)

    def _of_frames(self, batch: FrameBatch) -> tuple[FrameSums, Callable[[], None]]:
        flat = read_only(flat_frames(batch, self._columns.shape, self._last))
        sums, found = self._run(batch, lambda start, stop, *out: sum_frames(flat[start:stop], *out))
        if found[:, 0].min() < 0:
            raise self._negative(flat)
        highest = int(found[:, 1].max())
        if highest * flat.shape[1] > INT64_MAX:
            raise ReductionError(f"totals: counts up to {highest} could exceed 64 bits; mask them")
        image = self._image
        if image is None:
            return sums, _nothing
        image.reserve(len(flat), _largest(flat))
        return sums, lambda: image.add_frames(flat)

    def _run(self, batch: Batch, task: Callable[..., tuple[int, int]]) -> tuple[FrameSums, NDArray[np.int64]]:
        """Sum the frames in parts, side by side; also what each part has found, (nparts, 2)."""
        number, columns, threads = len(batch), self._columns, self._workers.threads
        sums = np.zeros((number, columns.count + 1), np.uint64)
        moments = np.zeros((number, 2), np.uint64)
        cuts = np.linspace(0, number, threads + 1).astype(np.int64)
        found = np.zeros((threads, 2), np.int64)

        def part_of(part: int) -> None:
            start, stop = cuts[part], cuts[part + 1]
            out = (columns.shape[1], columns.table, sums[start:stop], moments[start:stop])
            found[part] = task(start, stop, *out)

        self._workers.run(part_of, threads)
        result = FrameSums(
            indices=batch.indices.astype(np.int64),
            columns=sums[:, :-1].view(np.int64),
            moments=moments.view(np.int64),
        )
        return result, found

    def _count_photons(self, sums: FrameSums) -> None:
        totals = sums.columns.sum(axis=1)
        photons = self._photons + sum(totals.tolist())  # Python's integers: they cannot overflow
        if photons > INT64_MAX:
            raise ReductionError("intensity: the sum of all counts exceeds 64 bits; mask the bright pixels")
        self._photons = photons

    def _negative(self, flat: NDArray[Any]) -> ReductionError:
        good = self._columns.table[: flat.shape[1]] < self._columns.count
        wrong = good & ((flat < 0) | (flat > INT64_MAX))
        frame, pixel = np.argwhere(wrong)[0]
        y, x = divmod(int(pixel), self._columns.shape[1])
        return ReductionError(f"pixel (x={x}, y={y}) counts {flat[frame, pixel]} photons: mask it")


def _nothing() -> None:
    """No image to add to."""


def _largest(flat: NDArray[Any]) -> int:
    """The largest count, good or not, without its sign; of small types what they can hold."""
    if flat.dtype.itemsize <= 4:
        return max(int(np.iinfo(flat.dtype).max), -int(np.iinfo(flat.dtype).min))
    return max(int(flat.max()), -int(flat.min()))
