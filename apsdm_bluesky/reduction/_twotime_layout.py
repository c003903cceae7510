"""Where the pixels of the chosen bins stand in a row of the two-time correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from ._qmap import QMap

# Pixels in a word of a bit-plane: static bins begin at multiples of it, zeros fill what is between.
_WORD = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Pixels ordered by chosen dynamic bin, then by static bin.

    Parameters
    ----------
    bins
        Shape (nb,), int64: the dynamic bins, from 1.
    pixels
        Shape (npix,), int32: row-major pixels.
    starts
        Shape (m + 1,), int64: the pixels of static bin k are ``pixels[starts[k]:starts[k + 1]]``.
    columns
        Shape (m + 1,), int64: the column at which each begins; the last is the number of columns.
    members
        Of each dynamic bin, the range of its static bins.
    """

    bins: NDArray[np.int64]
    pixels: NDArray[np.int32]
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    members: tuple[range, ...]

    @classmethod
    def of(cls, qmap: QMap, bins: Sequence[int] | None) -> "Layout":
        """The layout of the given bins, None for all.

        Raises
        ------
        ReductionError
            No bin, one that the q-map has not, or one twice.
        """
        chosen = _checked(bins, len(qmap.q))
        static, dynamic = qmap.static.ravel(), qmap.dynamic.ravel()
        rank = np.zeros(len(qmap.q) + 1, np.int64)
        rank[chosen] = np.arange(1, len(chosen) + 1)
        used = np.flatnonzero(rank[dynamic])
        pixels = used[np.lexsort((static[used], rank[dynamic[used]]))]
        changes = np.flatnonzero(np.diff(static[pixels], prepend=0))
        starts = np.append(changes, len(pixels))
        of_bin = np.bincount(rank[dynamic[pixels[changes]]] - 1, minlength=len(chosen))
        ends = np.cumsum(of_bin)
        words = -(-np.diff(starts) // _WORD)
        return cls(
            bins=chosen,
            pixels=pixels.astype(np.int32),
            starts=starts.astype(np.int64),
            columns=np.append(0, np.cumsum(words * _WORD)).astype(np.int64),
            members=tuple(range(int(end - n), int(end)) for end, n in zip(ends, of_bin, strict=True)),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Shape (m,): pixels of each static bin."""
        return np.diff(self.starts)

    @property
    def largest_part(self) -> float:
        """The part of the columns that the largest dynamic bin has."""
        ends = [(self.columns[part.start], self.columns[part.stop]) for part in self.members]
        return float(max(stop - start for start, stop in ends) / max(self.columns[-1], 1))

    @property
    def places(self) -> NDArray[np.int32]:
        """Shape (npix,): the column of each pixel."""
        shift = np.repeat(self.columns[:-1] - self.starts[:-1], self.sizes)
        return (np.arange(len(self.pixels)) + shift).astype(np.int32)


def _checked(bins: Sequence[int] | None, number: int) -> NDArray[np.int64]:
    if bins is None:
        return np.arange(1, number + 1)
    chosen = np.asarray(bins)
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise ReductionError(f"two-time bins {bins!r}: give at least one number from 1 to {number}")
    if chosen.min() < 1 or chosen.max() > number or len(np.unique(chosen)) < len(chosen):
        raise ReductionError(f"two-time bins {list(bins)}: each from 1 to {number}, none twice")
    return chosen.astype(np.int64)
