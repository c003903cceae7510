"""From sums over pairs to g2 with its errors."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._level import LagSums
from ._qmap import QMap

Floats = NDArray[np.float64]

# A jackknife group spans several speckles, or neighbouring groups would not be independent: at least 4 x 4
# pixels.
MIN_GROUP_PIXELS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiTauResult:
    """g2 against delay for every dynamic bin. NaN where it is not defined.

    g2 is the unweighted mean over a dynamic bin's static bins of ``<G2> / (<IP> <IF>)``, where <> is the mean
    over the static bin's pixels and G2, IP and IF are a pixel's means over the valid pairs of x_n x_(n+k),
    x_n and x_(n+k) (symmetric normalisation, as in boost-corr). Dark pixels count in these means; a static
    bin without any count has no ratio and is left out.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """One delay [frames], the level it is measured in, and its sums (None: no pair yet)."""

    frames: int
    level: int
    sums: LagSums | None


class G2Averages:
    """Averages over the pixels of static bins, then over dynamic bins; also without each jackknife group."""

    def __init__(self, qmap: QMap, groups: int) -> None:
        self._q, self._static_q, self._parents = qmap.q, qmap.static_q, qmap.parents
        self._groups = groups
        self._dynamic = qmap.dynamic.ravel()[qmap.pixels].astype(np.int64) - 1
        static = qmap.static.ravel()[qmap.pixels].astype(np.int64) - 1
        group, self._used_groups = _pixel_groups(qmap, self._dynamic, groups)
        # A cell is what a static bin and a group have in common.
        self._cells = static * groups + group
        self._cell_shape = (len(qmap.static_q), groups)
        self._cell_pixels = self._per_cell(np.ones(len(static)))
        self._members = (self._parents == np.arange(1, len(qmap.q) + 1)[:, np.newaxis]).astype(np.float64)

    def result(self, delays: Iterable[Delay], frames: int) -> MultiTauResult:
        """The result of the given delays."""
        listed = list(delays)
        nt, nq = len(listed), len(self._q)
        g2, g2_err = np.full((nt, nq), np.nan), np.full((nt, nq), np.nan)
        jackknife = np.full((self._groups, nt, nq), np.nan)
        for i, delay in enumerate(listed):
            if delay.sums is not None and delay.sums.pairs:
                g2[i], jackknife[:, i] = self._ratios(delay.sums)
                g2_err[i] = self._scatter(delay.sums)
        return MultiTauResult(
            delays=np.array([delay.frames for delay in listed], np.int64),
            levels=np.array([delay.level for delay in listed], np.int64),
            pairs=np.array([delay.sums.pairs if delay.sums else 0 for delay in listed], np.int64),
            g2=g2,
            g2_err=g2_err,
            jackknife=jackknife,
            frames=frames,
            q=self._q,
            static_q=self._static_q,
            parents=self._parents,
        )

    def _per_cell(self, values: NDArray[np.generic]) -> Floats:
        size = self._cell_shape[0] * self._cell_shape[1]
        sums = np.bincount(self._cells, values.astype(np.float64), size)
        return sums.reshape(self._cell_shape).astype(np.float64)

    def _ratios(self, sums: LagSums) -> tuple[Floats, Floats]:
        """g2 with all pixels, shape (nq,), and without each group, shape (groups, nq)."""
        cells = [self._cell_pixels, *(self._per_cell(x) for x in (sums.products, sums.past, sums.future))]
        whole = [cell.sum(axis=1, keepdims=True) for cell in cells]
        rest = [total - cell for total, cell in zip(whole, cells, strict=True)]
        without = self._mean_ratio(sums.pairs, *rest)
        without[np.arange(self._groups) >= self._used_groups[:, np.newaxis]] = np.nan
        return self._mean_ratio(sums.pairs, *whole)[:, 0], without.T

    def _mean_ratio(
        self, pairs: int, pixels: Floats, products: Floats, past: Floats, future: Floats
    ) -> Floats:
        """Mean over the static bins of <G2> / (<IP> <IF>); arguments (ns, n), result (nq, n)."""
        norm = past * future
        defined = (norm > 0) & (pixels > 0)
        ratio = np.divide(pairs * pixels * products, norm, out=np.zeros_like(norm), where=defined)
        number = self._members @ defined
        mean: Floats = np.full(number.shape, np.nan)
        np.divide(self._members @ ratio, number, out=mean, where=number > 0)
        return mean

    def _scatter(self, sums: LagSums) -> Floats:
        """Standard error of the mean of the pixels' own G2 / (IP IF), shape (nq,)."""
        norm = sums.past.astype(np.float64) * sums.future
        lit = norm > 0
        bins, nq = self._dynamic[lit], len(self._q)
        ratio = sums.pairs * sums.products[lit].astype(np.float64) / norm[lit]
        number = np.bincount(bins, minlength=nq)
        mean = np.bincount(bins, ratio, nq) / np.maximum(number, 1)
        squares = np.bincount(bins, (ratio - mean[bins]) ** 2, nq)
        variance: Floats = np.full(nq, np.nan)
        np.divide(squares, (number - 1) * number, out=variance, where=number > 1)
        return np.sqrt(variance)


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
    order = np.lexsort((azimuth, dynamic))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[dynamic[order]]
    return rank * number[dynamic] // sizes[dynamic], number
