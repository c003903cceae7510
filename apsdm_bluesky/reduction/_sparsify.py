"""Dense frames to packed event words."""

from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, FRAME_SHIFT, PIXEL_BITS, PIXEL_SHIFT, EventBatch, FrameBatch

from ._checks import flat_frames, read_only
from ._lit import BLOCK, LIST_SIZE, find_lit
from ._workers import OneThread, Workers

MAX_COUNT = (1 << COUNT_BITS) - 1
_FRAME, _PIXEL, _MOST = np.uint64(FRAME_SHIFT), np.uint64(PIXEL_SHIFT), np.uint64(MAX_COUNT)


def sparsify(batch: FrameBatch, workers: Workers | None = None) -> EventBatch | None:
    """The non-zero pixels of dense frames; None where words cannot hold them, or are no gain.

    Words cannot hold a count above 4095, a negative one (a module's gap that is marked with -1), or frames of
    more than 2^21 pixels. They are no gain if one of the frames needs more memory as words than as it is:
    from 12.5 % of lit pixels in 8-bit, 25 % in 16-bit, 50 % in 32-bit frames. Where the answer is None, the
    search has ended with the first frame that is the reason: to ask costs little.

    Parameters
    ----------
    batch
        Frames of any integer dtype. The number of each in the batch stands in its words.
    workers
        Run the search, default `OneThread`; the words do not depend on their number.

    Raises
    ------
    ReductionError
        Frames of no integers (floats, NaN or not), or arrays that do not fit each other.
    """
    return words_of(batch, batch.frames.dtype.itemsize / 8, workers)


def words_of(batch: FrameBatch, occupancy: float, workers: Workers | None = None) -> EventBatch | None:
    """`sparsify` for frames in which up to this part of the pixels is lit."""
    flat = read_only(flat_frames(batch, batch.frames.shape[1:], None))
    frames, pixels = flat.shape
    if pixels > 1 << PIXEL_BITS:
        return None
    workers = workers or OneThread()
    most = int(occupancy * pixels)
    cuts = np.linspace(0, frames, workers.threads + 1).astype(np.int64)
    words = np.empty(frames * most, np.uint64)  # only what is written takes memory
    numbers = np.zeros(frames, np.int64)
    fits = np.zeros(workers.threads, np.bool_)

    def fill(part: int) -> None:
        start, stop = cuts[part], cuts[part + 1]
        own = words[start * most : stop * most]
        fits[part] = fill_words(flat[start:stop], start, most, own, numbers[start:stop])

    workers.run(fill, workers.threads)
    if not fits.all():
        return None
    offsets = np.concatenate([[0], np.cumsum(numbers)])
    for start, stop in pairwise(cuts[1:]):
        count = offsets[stop] - offsets[start]
        words[offsets[start] : offsets[stop]] = words[start * most : start * most + count]
    return EventBatch(
        words=words[: offsets[-1]],
        offsets=offsets,
        indices=batch.indices,
        shape=batch.shape,
        timestamps=batch.timestamps,
    )


def _fill_words(
    flat: NDArray[np.integer], first: int, most: int, words: NDArray[np.uint64], numbers: NDArray[np.int64]
) -> bool:
    """Write the words of frames (n, ny * nx) one after the other, and the number of each frame's.

    False as soon as a count does not fit, or a frame has more than `most` lit pixels; `words` has room for so
    many of every frame.
    """
    lit = np.empty(LIST_SIZE, np.uint32)
    pixels, place = flat.shape[1], 0
    for k in range(len(flat)):
        frame, begin, seen = flat[k], place, np.uint64(0)
        number = np.uint64(first + k) << _FRAME
        for start in range(0, pixels, BLOCK):
            found = find_lit(frame, start, min(start + BLOCK, pixels), lit)
            if place + found - begin > most:
                return False
            for i in range(found):
                count = np.uint64(frame[np.intp(lit[i])])  # a negative one has the highest bits set
                seen |= count
                words[place + i] = number | (np.uint64(lit[i]) << _PIXEL) | count
            place += found
        if seen > _MOST:
            return False
        numbers[k] = place - begin
    return True


fill_words: Any = njit(cache=True, nogil=True)(_fill_words)
