"""What every reduction asks of a batch before it changes anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import FrameBatch


def flat_frames(batch: FrameBatch, shape: tuple[int, int], last: int) -> NDArray[Any]:
    """The batch's frames as (n, ny * nx), checked.

    Parameters
    ----------
    shape
        (ny, nx) of the q-map.
    last
        Index of the last frame that was pushed before, -1 for none.

    Raises
    ------
    ReductionError
        Another shape, no integer counts, or indices that do not increase.
    """
    frames, indices = batch.frames, batch.indices
    if frames.ndim != 3 or frames.shape[1:] != shape:
        raise ReductionError(
            f"frames of shape {frames.shape[1:]} do not fit the q-map of {shape}: use one of this detector"
        )
    if frames.dtype.kind not in "iu":
        raise ReductionError(f"frames of dtype {frames.dtype}: only integer counts can be reduced")
    if indices.dtype.kind not in "iu" or indices.shape != frames.shape[:1]:
        raise ReductionError(
            f"{len(frames)} frames with indices of shape {indices.shape}, dtype {indices.dtype}"
        )
    if indices[0] <= last or (np.diff(indices.astype(np.int64)) <= 0).any():
        raise ReductionError(f"frame indices must increase: {indices[0]}..{indices[-1]} came after {last}")
    return frames.reshape(len(frames), -1)


def counts_at(frames: NDArray[Any], pixels: NDArray[np.int64]) -> NDArray[Any]:
    """The counts of `pixels`, shape (n, npix), of flat frames.

    Raises
    ------
    ReductionError
        A negative count.
    """
    counts: NDArray[Any] = np.take(frames, pixels, axis=1)
    if counts.dtype.kind == "i" and counts.min(initial=0) < 0:
        where = pixels[int(np.argmin(counts.min(axis=0)))]
        raise ReductionError(f"pixel {where} (row-major) counts {counts.min()} photons: mask it in the q-map")
    return counts
