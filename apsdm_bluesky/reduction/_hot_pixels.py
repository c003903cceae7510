"""Pixels that count what no sample can scatter."""

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch

from ._qmap import QMap
from ._saxs import Saxs

Mask = NDArray[np.bool_]

# Chance that one good pixel is taken for a hot one. A megapixel detector then loses one in a thousand runs;
# with ten times less the limit rises by a tenth only.
CHANCE = 1e-9
# A ring needs so many lit pixels to tell its own level.
MIN_LIT = 30
# A row or column is bad as a whole with so many hot pixels, if they are also this part of its used pixels: a
# defect of the readout, whose other pixels are wrong too. By chance, or by single defects, hot pixels do not
# line up.
LINE_PIXELS = 5
LINE_PART = 0.05


def find_hot_pixels(batch: Batch, qmap: QMap) -> Mask:
    """Hot pixels and bad rows or columns among the pixels that the q-map uses: shape (ny, nx), True is bad.

    The broadest distribution that scattering gives is that of fully developed static speckle (contrast 1):
    intensity exponential, counts K of mean m geometric, ``P(K >= k) = rho^k`` with ``rho = m / (1 + m)``.
    This holds from single photons to bright rings, and includes Poisson noise. A pixel is hot when its
    counts, summed over the batch, have a chance below 1e-9 in its dynamic ring: 20.7 times the mean where
    that is large, 9 counts at a mean of 0.1. Anything closer would cut bright speckles and bias g2 (J. W.
    Goodman, Speckle Phenomena in Optics, chapter 3).

    The ring's rho comes from its lit pixels, through their median: neither a beam stop's shadow nor hot
    pixels move it much. It supposes that the intensity varies little along a ring compared with the factor
    20.

    Raises
    ------
    ReductionError
        Frames that do not fit the q-map (see `MultiTau.push`).
    """
    saxs = Saxs(qmap)
    saxs.push(batch)
    return hot_pixels_in(saxs.result().sum_image, qmap)


def hot_pixels_in(image: NDArray[np.int64], qmap: QMap) -> Mask:
    """`find_hot_pixels` of frames whose sum is `image` (ny, nx)."""
    bad = np.zeros(qmap.shape, bool)
    counts = image.ravel()[qmap.pixels].astype(np.float64)
    dynamic = qmap.dynamic.ravel()[qmap.pixels] - 1
    bad.ravel()[qmap.pixels] = counts >= _limits(counts, dynamic, len(qmap.q))[dynamic]
    return bad | _bad_lines(bad, qmap.dynamic > 0)


def _limits(counts: NDArray[np.float64], dynamic: NDArray[np.int32], nq: int) -> NDArray[np.float64]:
    """Count from which a pixel of each ring is hot; for rings too dark to tell, the highest of the others."""
    limits = np.full(nq, np.nan)
    for i in range(nq):
        lit = counts[(dynamic == i) & (counts > 0)]
        if len(lit) >= MIN_LIT:
            limits[i] = 1 + np.log(CHANCE) / np.log(_rho(lit))
    known = limits[np.isfinite(limits)]
    limits[np.isnan(limits)] = known.max() if len(known) else np.inf
    return limits


def _rho(lit: NDArray[np.float64]) -> float:
    """The rho of a geometric distribution from its lit pixels: P(K > j) among those with K > 0 is rho^j.

    j is near the median, so few hot pixels change little; one count is added on either side, so rho lies
    between 0 and 1.
    """
    j = max(1.0, float(np.median(lit)) - 1)
    above = (np.count_nonzero(lit > j) + 1) / (len(lit) + 2)
    return float(above ** (1 / j))


def _bad_lines(hot: Mask, used: Mask) -> Mask:
    """Used pixels of rows and columns with too many hot ones."""
    lines = np.zeros_like(hot)
    for axis in (0, 1):
        number = hot.sum(axis=axis, keepdims=True)
        lines |= (number >= LINE_PIXELS) & (number >= LINE_PART * used.sum(axis=axis, keepdims=True))
    return lines & used
