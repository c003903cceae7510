"""The sets of pixels that one pass over the frames sums apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from ._qmap import QMap

Mask = NDArray[np.bool_]

_UINT16_MAX = 2**16 - 1


class Columns:
    """Good pixels in sets (columns) that lie within one static bin, and inside or outside of each region.

    All sums over bins and regions are sums of columns: a lit pixel costs one addition, whatever is asked.

    Parameters
    ----------
    good
        (ny, nx) bool: pixels that count.
    labels
        Any number of (ny, nx) integer maps >= 0: pixels of one column have the same labels. Columns are
        ordered by them, by the first one first.

    Attributes
    ----------
    table
        (ny * nx,), uint8 if that is enough, else uint16: the column of each pixel; one more, the last, for
        those that are not good.
    count
        Number of columns, that of the other pixels not counted.

    Raises
    ------
    ReductionError
        More columns than 16 bits can number.
    """

    def __init__(self, good: Mask, *labels: NDArray[np.integer]) -> None:
        places = np.flatnonzero(good)
        sizes = tuple(int(label.max()) + 1 for label in labels)
        keys = np.ravel_multi_index(tuple(label.ravel()[places] for label in labels), sizes)
        _, first, column = np.unique(keys, return_index=True, return_inverse=True)
        self.count = len(first)
        if self.count > _UINT16_MAX:
            raise ReductionError(
                f"static bins and regions cut the image into {self.count} pieces; {_UINT16_MAX} are possible"
            )
        self.shape = good.shape
        # As small as can be: it should stay in second-level cache.
        self.table = np.full(good.size, self.count, np.min_scalar_type(self.count))
        self.table[places] = column.ravel()
        self._examples = places[first]

    def of(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Shape (count,): what a map (ny, nx), one of `labels` or coarser, says of each column."""
        values: NDArray[Any] = labels.ravel()[self._examples]
        return values


def columns_of(qmap: QMap, regions: Sequence[Mask] = ()) -> Columns:
    """Columns ordered by dynamic bin, then static bin."""
    return Columns(qmap.mask, qmap.dynamic, qmap.static, region_sets(qmap.shape, regions))


def region_sets(shape: tuple[int, int], regions: Sequence[Mask]) -> NDArray[np.int64]:
    """Shape (ny, nx): pixels in the same regions have the same number."""
    sets = np.zeros(shape, np.int64)
    for region in regions:
        sets = np.unique(2 * sets + region, return_inverse=True)[1].reshape(shape)
    return sets


def sums_by(labels: NDArray[np.integer], values: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Sums of neighbouring columns with the same label: values (n, ncolumns) to (n, size).

    Columns with one label must stand together; label i goes to place i.
    """
    sums = np.zeros((len(values), size), np.int64)
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    sums[:, labels[starts]] = np.add.reduceat(values, starts, axis=1)
    return sums
