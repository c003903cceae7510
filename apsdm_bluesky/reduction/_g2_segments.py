"""g2 of consecutive segments of time, from differences of sums that only grow."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_SEGMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentedG2:
    """g2 of each time segment. A pair belongs to the segment of its later frame.

    Segments are of equal length, the one asked for or, in a long series, this times a power of two: there are
    at most 64. Over the segments, the sums of products and of intensities add up to those of the series.

    Parameters
    ----------
    first
        Shape (k,), int64: index of each segment's first frame.
    frames
        Shape (k,), int64: how many of its frames came.
    g2
        Shape (k, nt, nq): as `MultiTauResult.g2`; NaN without a valid pair or without a count.
    """

    first: NDArray[np.int64]
    frames: NDArray[np.int64]
    g2: Floats


class StaticSums(NamedTuple):
    """Sums of products, of x_n and of x_(n+k) over static bins, shape (rows, ns) each."""

    products: Floats
    past: Floats
    future: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was summed up to some frame: the number of frames, the pairs (rows,) and the sums."""

    frames: int
    pairs: NDArray[np.int64]
    sums: StaticSums


class Segments:
    """Snapshots at the ends of the segments.

    Parameters
    ----------
    width
        Frames of a segment.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.ends: list[Snapshot] = []

    @property
    def end(self) -> int:
        """Index of the first frame after the present segment."""
        return (len(self.ends) + 1) * self.width

    def begin(self, index: int, now: Snapshot) -> None:
        """Frame `index` comes next, and lies beyond the present segment: end this one and those up to it."""
        while index // self.width >= MAX_SEGMENTS:
            self.width *= 2
            self.ends = self.ends[1::2]
        self.ends += [now] * (index // self.width - len(self.ends))

    def differences(self, now: Snapshot) -> list[Snapshot]:
        """What each segment has added, the present one included."""
        nothing = Snapshot(
            frames=0, pairs=np.zeros_like(now.pairs), sums=StaticSums(*map(np.zeros_like, now.sums))
        )
        known = [nothing, *(_grown(end, len(now.pairs)) for end in self.ends), now]
        return [
            Snapshot(
                frames=end.frames - start.frames,
                pairs=end.pairs - start.pairs,
                sums=StaticSums(*(b - a for a, b in zip(start.sums, end.sums, strict=True))),
            )
            for start, end in pairwise(known)
        ]


def _grown(snapshot: Snapshot, rows: int) -> Snapshot:
    """The snapshot with so many rows."""
    more = rows - len(snapshot.pairs)
    return Snapshot(
        frames=snapshot.frames,
        pairs=np.pad(snapshot.pairs, (0, more)),
        sums=StaticSums(*(np.pad(x, ((0, more), (0, 0))) for x in snapshot.sums)),
    )
