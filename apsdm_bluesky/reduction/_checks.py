"""What every reduction asks of a batch before it changes anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import EventBatch, FrameBatch

from ._kernels import highest

INT64_MAX = 2**63 - 1


def flat_frames(batch: FrameBatch, shape: tuple[int, int], last: int | None) -> NDArray[Any]:
    """The batch's frames as (n, ny * nx) in the machine's byte order, checked.

    Parameters
    ----------
    shape
        (ny, nx) of the q-map.
    last
        Index of the last frame that was pushed before, -1 for none; None leaves their order unchecked.

    Raises
    ------
    ReductionError
        Another shape, no integer counts, or indices that do not increase.
    """
    frames = batch.frames
    if frames.ndim != 3:
        raise ReductionError(f"frames of shape {frames.shape}: need (n, ny, nx)")
    if frames.shape[1:] != shape:
        raise _misfit(frames.shape[1:], shape)
    if frames.dtype.kind not in "iu":
        raise ReductionError(f"frames of dtype {frames.dtype}: only integer counts can be reduced")
    _check_indices(batch.indices, len(frames), last)
    native = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).reshape(len(frames), shape[0] * shape[1])


def check_events(batch: EventBatch, shape: tuple[int, int], last: int) -> int:
    """Look at packed events in the same way; parameters as of `flat_frames`. Returns the highest count.

    Raises
    ------
    ReductionError
        As `check_event_arrays`, or a pixel outside the image.
    """
    check_event_arrays(batch, shape, last)
    pixel, count = highest(batch.words)
    check_pixel(pixel, shape)
    return int(count)


def check_event_arrays(batch: EventBatch, shape: tuple[int, int], last: int) -> None:
    """Look at all but the words themselves.

    Raises
    ------
    ReductionError
        Another shape, arrays that do not fit each other, or indices that do not increase.
    """
    words, offsets = batch.words, batch.offsets
    if batch.shape != shape:
        raise _misfit(batch.shape, shape)
    if words.dtype != np.uint64 or offsets.dtype != np.int64 or words.ndim != 1 or offsets.ndim != 1:
        raise ReductionError(f"events in words of {words.dtype} {words.shape}, offsets of {offsets.dtype}")
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(words) or (np.diff(offsets) < 0).any():
        raise ReductionError(f"offsets do not cut {len(words)} event words into frames")
    _check_indices(batch.indices, len(offsets) - 1, last)


def check_pixel(pixel: int, shape: tuple[int, int]) -> None:
    """Refuse a pixel that a word names outside the image."""
    if pixel >= shape[0] * shape[1]:
        raise ReductionError(f"an event at pixel {pixel} lies outside frames of shape {shape}")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory. Compiled loops are compiled once for arrays that may be written, once for others."""
    view = array.view()
    view.flags.writeable = False
    return view


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


def _misfit(given: tuple[int, ...], shape: tuple[int, int]) -> ReductionError:
    return ReductionError(
        f"frames of shape {given} do not fit the q-map of {shape}: use one of this detector"
    )


def _check_indices(indices: NDArray[np.int64], frames: int, last: int | None) -> None:
    if indices.dtype.kind not in "iu" or indices.shape != (frames,):
        raise ReductionError(f"{frames} frames with indices of shape {indices.shape}, dtype {indices.dtype}")
    if last is None or frames == 0:
        return
    if indices[0] <= last or (np.diff(indices.astype(np.int64)) <= 0).any():
        raise ReductionError(f"frame indices must increase: {indices[0]}..{indices[-1]} came after {last}")
