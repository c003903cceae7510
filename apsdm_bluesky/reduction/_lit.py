"""Where a frame is not dark: the compiled search that all loops over dense frames share."""

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

# Pixels searched at a time: what was found, and the pixels' counts, stay in first-level cache.
BLOCK = 4096
# Places that a list of lit pixels needs: they are written by fours.
LIST_SIZE = BLOCK + 3


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(_context: Any, _bits: Any) -> Any:
    """Number of the lowest bit that is set, 64 where none is."""

    def code(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def _number_of_bits(_context: Any, _bits: Any) -> Any:
    def code(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


def _find_lit(frame: NDArray[np.integer], start: int, stop: int, lit: NDArray[np.uint32]) -> int:
    """Write the pixels from `start` to `stop` whose count is not 0 to `lit`; return their number.

    64 comparisons become the bits of one word (vector instructions); then each bit costs a step. Steps are
    taken by fours, of which the last ones may be for nothing: cheaper than a branch that is hard to predict.

    Shapes: frame (ny * nx,), lit (LIST_SIZE,); at most `BLOCK` pixels.
    """
    found = 0
    whole = stop - (stop - start) % 64
    for first in range(start, whole, 64):
        part = frame[first : first + 64]
        bits = np.uint64(0)
        for j in range(64):
            bits |= np.uint64(part[j] != 0) << np.uint64(j)
        number = int(_number_of_bits(bits))
        for step in range(0, number, 4):
            for j in range(4):
                lit[found + step + j] = np.uint32(first + int(_lowest_bit(bits)))
                bits &= bits - np.uint64(1)
        found += number
    for pixel in range(whole, stop):
        lit[found] = pixel
        found += int(frame[pixel] != 0)
    return found


find_lit: Any = njit(cache=True, nogil=True)(_find_lit)
