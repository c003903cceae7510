"""Pixels sorted into rings and sectors."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from ._geometry import Center

Floats = NDArray[np.float64]
Spacing = Literal["linear", "log"]


class Splits(NamedTuple):
    """How many bins: dynamic rings and sectors, and the static ones in each of them."""

    rings: int
    static_rings: int
    sectors: int = 1
    static_sectors: int = 1


class Bins(NamedTuple):
    """Maps (ny, nx) of bins from 1, 0 outside of them, and the bins' q and phi; None with one sector."""

    dynamic: NDArray[np.int32]
    static: NDArray[np.int32]
    q: Floats
    static_q: Floats
    phi: Floats | None
    static_phi: Floats | None


def ring_edges(low: float, high: float, splits: Splits, spacing: Spacing, unit: str) -> Floats:
    """Edges of the static rings from `low` to `high`, equal in width or in ratio."""
    if min(splits) < 1:
        raise ReductionError(f"{splits}: each number of bins must be 1 or more")
    if spacing not in ("linear", "log"):
        raise ReductionError(f"spacing {spacing!r}: give 'linear' or 'log'")
    if not 0 <= low < high < np.inf or (spacing == "log" and low == 0):
        least = "0 <" if spacing == "log" else "0 <="
        raise ReductionError(f"rings from {low:g} to {high:g} {unit}: need {least} inner < outer")
    number = splits.rings * splits.static_rings + 1
    return np.linspace(low, high, number) if spacing == "linear" else np.geomspace(low, high, number)


def sort_pixels(radial: Floats, edges: Floats, azimuth: Floats | None, splits: Splits) -> Bins:
    """Number the bins with q major and phi minor.

    A static ring's q is the mean of its pixels, that of a dynamic ring the mean of its static rings: as g2
    is the unweighted mean over static bins. phi is the middle of a sector; sectors begin at -180 degrees.

    Parameters
    ----------
    radial, azimuth
        Shape (ny, nx): what goes with the edges; angles [degree], None with one sector.
    edges
        Shape (rings * static_rings + 1,).
    """
    ring = np.digitize(radial, edges)
    ring[ring == len(edges)] = 0
    ring_q = _mean_of_rings(radial, ring, edges)
    sectors = splits.sectors * splits.static_sectors
    width = 360 / sectors
    sector = np.zeros_like(ring) if azimuth is None else ((azimuth + 180) // width).astype(np.int64)
    sector = np.clip(sector, 0, sectors - 1)  # 180 degrees belong to the last
    static = (ring - 1) * sectors + sector + 1
    dynamic = (ring - 1) // splits.static_rings * splits.sectors + sector // splits.static_sectors + 1
    return Bins(
        dynamic=np.where(ring > 0, dynamic, 0).astype(np.int32),
        static=np.where(ring > 0, static, 0).astype(np.int32),
        q=ring_q.reshape(splits.rings, -1).mean(axis=1).repeat(splits.sectors),
        static_q=ring_q.repeat(sectors),
        phi=None if azimuth is None else _middles(splits.sectors, splits.rings),
        static_phi=None if azimuth is None else _middles(sectors, len(ring_q)),
    )


def outer_radius(shape: tuple[int, int], center: Center) -> float:
    """The largest full circle about the centre [px], or the farthest corner where that is tiny."""
    (ny, nx), (x, y) = shape, center
    circle = min(x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y)
    if circle >= min(shape) / 8:
        return circle
    return float(np.hypot(max(x + 0.5, nx - 0.5 - x), max(y + 0.5, ny - 0.5 - y)))


def _middles(sectors: int, rings: int) -> Floats:
    """Middle of each sector [degree], for one ring after the other."""
    return np.tile(-180 + 360 / sectors * (np.arange(sectors) + 0.5), rings)


def _mean_of_rings(radial: Floats, ring: NDArray[np.int64], edges: Floats) -> Floats:
    """Mean of each ring's pixels; the middle of a ring without any."""
    count = np.bincount(ring.ravel(), minlength=len(edges))[1:]
    total = np.bincount(ring.ravel(), radial.ravel(), minlength=len(edges))[1:]
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), (edges[1:] + edges[:-1]) / 2)
    return mean
