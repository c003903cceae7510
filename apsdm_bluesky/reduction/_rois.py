"""Counts in regions of interest against time."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch

from ._columns import Columns, region_sets
from ._frame_pass import FramePass, FrameSums
from ._workers import OneThread, Workers

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A rectangle of whole pixels, as areaDetector's ROI plug-in has it (MinX, SizeX, MinY, SizeY).

    Parameters
    ----------
    x, y
        First column and row [px].
    width, height
        Number of columns and rows [px].
    """

    x: int
    y: int
    width: int
    height: int


Roi = Rectangle | Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoiStatsResult:
    """Counts in regions.

    Parameters
    ----------
    names
        Of the nr regions, in the order they were given.
    pixels
        Shape (nr,), int64: good pixels of each.
    indices
        Shape (n,), int64: frame indices.
    sums
        Shape (n, nr), int64: counts of each frame in each region's good pixels.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    indices: NDArray[np.int64]
    sums: NDArray[np.int64]


class RoiStats:
    """Counts of every frame in regions, which may overlap. `Intensities` tells them along with all else.

    Grows by 8 bytes a frame and region.

    Parameters
    ----------
    shape
        (ny, nx) of the frames.
    rois
        By name: rectangles inside the frame, or masks (ny, nx) that are True inside.
    mask
        (ny, nx) bool, True is a good pixel: others are left out. Default: all are good.

    Raises
    ------
    ReductionError
        No region; one without pixels, not inside the frame, or of another shape; a mask that does not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rois: Mapping[str, Roi],
        *,
        mask: Mask | None = None,
        workers: Workers | None = None,
    ) -> None:
        regions = regions_of(shape, rois)
        if not regions:
            raise ReductionError("no region of interest: name at least one")
        inside = np.logical_or.reduce(list(regions.values()))
        if mask is not None:
            inside &= _mask(mask, shape, "the mask")
        columns = Columns(inside, region_sets(shape, list(regions.values())))
        self._pass = FramePass(columns, workers or OneThread())
        self._record = RoiRecord(regions, columns, inside)

    def push(self, batch: Batch) -> None:
        """Add the batch's frames; errors as of `Intensities.push`, for negative counts inside the regions."""
        sums = self._pass.sums(batch)
        if sums is not None:
            self._record.add(sums)

    def result(self) -> RoiStatsResult:
        """The sums so far."""
        return self._record.result()


class RoiRecord:
    """What `RoiStats` keeps of each frame's sums."""

    def __init__(self, regions: Mapping[str, Mask], columns: Columns, good: Mask) -> None:
        self._names = tuple(regions)
        self._pixels = np.array([np.count_nonzero(region & good) for region in regions.values()], np.int64)
        self._columns = [np.flatnonzero(columns.of(region)) for region in regions.values()]
        self._indices = array("q")
        self._sums = array("q")

    def add(self, sums: FrameSums) -> None:
        """Take the next frames."""
        counts = np.stack([sums.columns[:, inside].sum(axis=1) for inside in self._columns], axis=1)
        self._indices.frombytes(sums.indices.tobytes())
        self._sums.frombytes(counts.tobytes())

    def result(self) -> RoiStatsResult:
        """The sums so far."""
        return RoiStatsResult(
            names=self._names,
            pixels=self._pixels,
            indices=np.array(self._indices, np.int64),
            sums=np.array(self._sums, np.int64).reshape(-1, len(self._names)),
        )


def regions_of(shape: tuple[int, int], rois: Mapping[str, Roi]) -> dict[str, Mask]:
    """The regions as masks (ny, nx), checked; errors as of `RoiStats`."""
    regions = {}
    for name, roi in rois.items():
        what = f"region {name!r}"
        region = _inside(roi, shape, what) if isinstance(roi, Rectangle) else _mask(roi, shape, what)
        if not region.any():
            raise ReductionError(f"{what} has no pixel")
        regions[name] = region
    return regions


def _inside(roi: Rectangle, shape: tuple[int, int], what: str) -> Mask:
    right, bottom = roi.x + roi.width, roi.y + roi.height
    if min(roi.x, roi.y) < 0 or min(roi.width, roi.height) < 1 or right > shape[1] or bottom > shape[0]:
        raise ReductionError(
            f"{what}, {roi}, does not lie in frames of {shape[1]} x {shape[0]} (x, y) pixels"
        )
    region = np.zeros(shape, np.bool_)
    region[roi.y : bottom, roi.x : right] = True
    return region


def _mask(mask: Mask, shape: tuple[int, int], what: str) -> Mask:
    values = np.asarray(mask)
    if values.dtype != np.bool_ or values.shape != shape:
        raise ReductionError(f"{what} has shape {values.shape}, dtype {values.dtype}: need bool, {shape}")
    return values
