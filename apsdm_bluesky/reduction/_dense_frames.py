"""The counts of a batch for the dense correlator: their dtype, the highest one, events as rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT, EventBatch

from ._checks import counts_at
from ._dense_state import Runs
from ._workers import Workers

Counts = NDArray[np.unsignedinteger]

# Frames whose rare dtype is converted, or whose events are spread over the pixels, at a time.
CHUNK = 64

_PIXEL_MASK, _COUNT_MASK = np.uint64((1 << PIXEL_BITS) - 1), np.uint64((1 << COUNT_BITS) - 1)
_SHIFT = np.uint64(PIXEL_SHIFT)


def _highest_used(frames: Counts, runs: Runs) -> int:
    """The highest count of the used pixels of frames (n, places)."""
    high = np.uint64(0)
    for i in range(len(frames)):
        for run in range(len(runs.begin)):
            counts = frames[i, runs.begin[run] : runs.begin[run] + runs.length[run]]
            for p in range(len(counts)):
                high = max(high, np.uint64(counts[p]))
    return int(high)


def _spread(
    words: NDArray[np.uint64], offsets: NDArray[np.int64], places: NDArray[np.int32], rows: Counts
) -> int:
    """``rows[frame, places[pixel]] += count`` where the place is not negative; the highest sum."""
    high = np.int64(0)
    for frame in range(len(offsets) - 1):
        row = rows[frame]
        row[:] = 0
        for i in range(offsets[frame], offsets[frame + 1]):
            word = words[i]
            place = places[np.intp((word >> _SHIFT) & _PIXEL_MASK)]
            if place >= 0:
                count = np.int64(row[place]) + np.int64(word & _COUNT_MASK)
                row[place] = count
                high = max(high, count)
    return int(high)


highest_used: Any = njit(cache=True, nogil=True)(_highest_used)
spread: Any = njit(cache=True, nogil=True)(_spread)


def unsigned_chunks(frames: NDArray[Any], size: int) -> Iterator[Counts]:
    """Frames (n, places), so many at a time, native and unsigned: negative counts become very high ones."""
    for start in range(0, len(frames), size):
        chunk = frames[start : start + size]
        native = np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("="))
        counts = native.view(f"u{chunk.dtype.itemsize}")
        counts.flags.writeable = False
        yield counts


def highest_count(frames: NDArray[Any], pixels: NDArray[np.int64], runs: Runs, workers: Workers) -> int:
    """The highest count of the used pixels.

    Raises
    ------
    ReductionError
        A negative count.
    """
    edges = np.linspace(0, len(frames), workers.threads + 1).astype(int).tolist()
    found = [0] * workers.threads

    def look(part: int) -> None:
        chunks = unsigned_chunks(frames[edges[part] : edges[part + 1]], CHUNK)
        found[part] = max((int(highest_used(chunk, runs)) for chunk in chunks), default=0)

    workers.run(look, workers.threads)
    if frames.dtype.kind == "i" and max(found) > np.iinfo(frames.dtype).max:
        for start in range(0, len(frames), CHUNK):
            counts_at(frames[start : start + CHUNK], pixels)  # tells which pixel
    return max(found)


def spread_events(
    batch: EventBatch, places: NDArray[np.int32], pixels: int, workers: Workers
) -> Iterator[tuple[int, Counts]]:
    """Rows of the used pixels' counts, `CHUNK` frames at a time: number of the first frame, and the rows.

    They are uint16, or uint32 where that is not enough, and overwritten by the next ones.
    """
    rows: Counts = np.zeros((min(CHUNK, len(batch)), pixels), np.uint16)
    for start in range(0, len(batch), CHUNK):
        part = rows[: len(batch) - start]
        if _spread_part(batch, start, places, part, workers) > np.iinfo(rows.dtype).max:
            rows = np.zeros(rows.shape, np.uint32)
            part = rows[: len(batch) - start]
            _spread_part(batch, start, places, part, workers)
        yield start, part


def _spread_part(
    batch: EventBatch, start: int, places: NDArray[np.int32], rows: Counts, workers: Workers
) -> int:
    edges = np.linspace(0, len(rows), workers.threads + 1).astype(int).tolist()
    found = [0] * workers.threads

    def task(part: int) -> None:
        begin, end = edges[part], edges[part + 1]
        offsets = batch.offsets[start + begin : start + end + 1]
        found[part] = int(spread(batch.words, offsets, places, rows[begin:end]))

    workers.run(task, workers.threads)
    return max(found)
