"""From sums over pairs to g2 with its errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._dense_loops import TILE
from ._g2_segments import SegmentedG2, Snapshot, StaticSums
from ._g2_sums import Cells, CellSums
from ._qmap import QMap
from ._scheme import Definition

Floats = NDArray[np.float64]

# A jackknife group spans several speckles, or neighbouring groups would not be independent: at least 4 x 4
# pixels.
MIN_GROUP_PIXELS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiTauResult:
    """g2 against delay for every dynamic bin. NaN where it is not defined.

    By boost-corr's definition g2 is the unweighted mean over a dynamic bin's static bins of
    ``<G2> / (<IP> <IF>)``, where <> is the mean over the static bin's pixels and G2, IP and IF are a pixel's
    means over the valid pairs of x_n x_(n+k), x_n and x_(n+k) (symmetric normalisation). Dark pixels count in
    these means; a static bin without any count has no ratio and is left out. By scikit-beam's definition the
    ratio is that of the means over the whole dynamic bin.

    Parameters
    ----------
    delays
        Shape (nt,), int64, increasing [frames].
    levels
        Shape (nt,), int64: the delay's frames are means of 2^level detector frames.
    pairs
        Shape (nt,), int64: valid pairs M.
    g2
        Shape (nt, nq). NaN without a valid pair or without a count.
    g2_err
        Shape (nt, nq): standard deviation (ddof = 1) over the dynamic bin's pixels of G2 / (IP IF), divided
        by the root of their number. Pixels that are dark (IP IF = 0) have no ratio and are left out; NaN with
        fewer than two others. This is the scatter of pixels, not the error of a fitted rate: use `jackknife`
        for that.
    jackknife
        Shape (groups, nt, nq): g2 without one group of pixels. Groups are blocks of neighbouring pixels,
        equal in size to one pixel, of at least 16 pixels. A bin too small for so many groups has fewer: NaN
        beyond; all NaN below 32 pixels.
    frames
        Number of frames reduced.
    q, static_q
        Shape (nq,) and (ns,), in the q-map's unit: of dynamic and of static bins.
    parents
        Shape (ns,), int64: the dynamic bin (from 1) of each static bin, 0 where it holds no pixel.
    segments
        g2 of each time segment; None where none were asked for.
    """

    delays: NDArray[np.int64]
    levels: NDArray[np.int64]
    pairs: NDArray[np.int64]
    g2: Floats
    g2_err: Floats
    jackknife: Floats
    frames: int
    q: Floats
    static_q: Floats
    parents: NDArray[np.int64]
    segments: SegmentedG2 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """The delays of a result, shape (nt,) each.

    Parameters
    ----------
    frames, levels, pairs
        As of `MultiTauResult`.
    rows
        Where the sums of each stand; those beyond the rows there are have no pair yet.
    """

    frames: NDArray[np.int64]
    levels: NDArray[np.int64]
    pairs: NDArray[np.int64]
    rows: NDArray[np.int64]


class G2Averages:
    """Averages over the pixels of static bins, then over dynamic bins; also without each jackknife group.

    By scikit-beam's definition each dynamic bin stands for its static ones.
    """

    def __init__(self, qmap: QMap, groups: int, definition: Definition) -> None:
        self._qmap, self._groups = qmap, groups
        nq = len(qmap.q)
        dynamic = qmap.dynamic.ravel()[qmap.pixels].astype(np.int64) - 1
        whole = definition == "scikit-beam"
        static = dynamic if whole else qmap.static.ravel()[qmap.pixels].astype(np.int64) - 1
        parents = np.arange(1, nq + 1) if whole else qmap.parents
        group, self._used_groups = _pixel_groups(qmap, dynamic, groups)
        cell = static * groups + group
        self._shape = (len(parents), groups)
        self._pixels = np.bincount(cell, minlength=len(parents) * groups).reshape(self._shape).astype(float)
        self._members = (parents == np.arange(1, nq + 1)[:, np.newaxis]).astype(np.float64)
        self.cells = Cells(
            cell=_in_tiles(cell, len(parents) * groups),
            bin=_in_tiles(dynamic, nq),
            cells=len(parents) * groups,
            bins=nq,
        )

    def result(
        self, delays: Delays, sums: CellSums, frames: int, segments: SegmentedG2 | None
    ) -> MultiTauResult:
        """The result of the given delays, whose sums stand in `delays.rows`."""
        g2, jackknife = self._ratios(delays, sums)
        return MultiTauResult(
            delays=delays.frames,
            levels=delays.levels,
            pairs=delays.pairs,
            g2=g2,
            g2_err=_scatter(*(rows_at(x, delays.rows)[:, :-1] for x in (sums.lit, sums.first, sums.second))),
            jackknife=jackknife,
            frames=frames,
            q=self._qmap.q,
            static_q=self._qmap.static_q,
            parents=self._qmap.parents,
            segments=segments,
        )

    def static_sums(self, sums: CellSums) -> StaticSums:
        """The sums over whole static bins, shape (rows, ns) each."""
        return StaticSums(*(x[:, :-1].reshape(-1, *self._shape).sum(axis=2) for x in sums[:3]))

    def segment_g2(self, part: Snapshot, rows: NDArray[np.int64]) -> Floats:
        """g2, shape (nt, nq), of a segment's sums at the given rows."""
        pixels = self._pixels.sum(axis=1, keepdims=True)
        pairs = rows_at(part.pairs, rows)
        sums = (rows_at(x, rows)[..., np.newaxis] for x in part.sums)
        return self._mean_ratio(pairs, pixels, *sums)[..., 0]

    def _ratios(self, delays: Delays, sums: CellSums) -> tuple[Floats, Floats]:
        """g2 with all pixels, shape (nt, nq), and without each group, shape (groups, nt, nq)."""
        cells = [rows_at(x, delays.rows)[:, :-1].reshape(-1, *self._shape) for x in sums[:3]]
        whole = [cell.sum(axis=-1, keepdims=True) for cell in (self._pixels, *cells)]
        rest = [total - cell for total, cell in zip(whole, (self._pixels, *cells), strict=True)]
        without = self._mean_ratio(delays.pairs, *rest)
        without[:, np.arange(self._groups) >= self._used_groups[:, np.newaxis]] = np.nan
        return self._mean_ratio(delays.pairs, *whole)[..., 0], np.moveaxis(without, -1, 0)

    def _mean_ratio(
        self, pairs: NDArray[Any], pixels: Floats, products: Floats, past: Floats, future: Floats
    ) -> Floats:
        """Mean over the static bins of <G2> / (<IP> <IF>), shape (nt, nq, n).

        Shapes: pairs (nt,), pixels (ns, n), the others (nt, ns, n).
        """
        norm = past * future
        defined = (norm > 0) & (pixels > 0)
        counts = pairs[:, np.newaxis, np.newaxis] * pixels
        ratio = np.divide(counts * products, norm, out=np.zeros_like(norm), where=defined)
        number = self._members @ defined
        mean: Floats = np.full(number.shape, np.nan)
        np.divide(self._members @ ratio, number, out=mean, where=number > 0)
        return mean


def rows_at(array: NDArray[Any], rows: NDArray[np.int64]) -> Floats:
    """The given rows of an array, zeros where it does not reach so far."""
    found: Floats = np.zeros((len(rows), *array.shape[1:]))
    there = rows < len(array)
    found[there] = array[rows[there]]
    return found


def _scatter(lit: Floats, first: Floats, second: Floats) -> Floats:
    """Standard error of the mean of the lit pixels' ratios: from sums of distances to one of them."""
    several = lit > 1
    number = np.where(several, lit, 2.0)
    squares = np.maximum(second - first**2 / number, 0)
    return np.where(several, np.sqrt(squares / (number - 1) / number), np.nan)


def _in_tiles(values: NDArray[np.int64], other: int) -> NDArray[np.int32]:
    """Values (npix,) as (tiles, TILE), filled up with `other`."""
    filled = np.full(-(-len(values) // TILE) * TILE, other, np.int32)
    filled[: len(values)] = values
    return filled.reshape(-1, TILE)


def _pixel_groups(
    qmap: QMap, dynamic: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The group of each used pixel, shape (npix,), and the number of groups of each dynamic bin, shape (nq,).

    Groups are blocks in azimuth about the beam centre: a speckle spreads over neighbouring pixels, which must
    not be told apart. The bins with fewer than two groups get 0: no jackknife.
    """
    y, x = np.divmod(qmap.pixels, qmap.shape[1])
    azimuth = np.arctan2(y - qmap.center[1], x - qmap.center[0])
    sizes = np.bincount(dynamic, minlength=len(qmap.q))
    number = np.minimum(groups, sizes // MIN_GROUP_PIXELS)
    number[number < 2] = 0
    # By bin, then azimuth: one after the other, as `lexsort` takes twice as long.
    order = np.argsort(azimuth, kind="stable")
    order = order[np.argsort(dynamic[order].astype(np.min_scalar_type(len(qmap.q))), kind="stable")]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[dynamic[order]]
    return rank * number[dynamic] // sizes[dynamic], number
