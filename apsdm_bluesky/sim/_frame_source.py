"""Where a simulated camera takes its images from: the speckle sample, or a file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig

from ._speckle import SpeckleSample

__all__ = ["FrameSource", "open_source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """Images without end for each acquisition.

    Parameters
    ----------
    shape
        Rows, columns.
    dtype
        Of every image.
    images
        From the frame number of an acquisition's first frame to its images, shape (ny, nx). An image is valid
        until the next one is taken.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    images: Callable[[int], Iterator[NDArray[Any]]]


def open_source(simulation: SimulationConfig) -> FrameSource:
    """The file's frames where one is named, else the simulated sample.

    Raises
    ------
    FormatError
        The file cannot be used.
    """
    if simulation.frames_file is None:
        return _sample_source(SpeckleSample(simulation))
    from apsdm_bluesky.formats import read_frames  # only now: the simulated sample starts sooner without

    return _replay_source(read_frames(simulation.frames_file))


def _sample_source(sample: SpeckleSample) -> FrameSource:
    def images(first_id: int) -> Iterator[NDArray[Any]]:
        series = sample.series(first_id)
        image = np.empty((1, *sample.shape), np.uint16)
        while True:
            series.fill(image)
            yield image[0]

    next(images(0))  # compiled now, not while frames are due
    return FrameSource(shape=sample.shape, dtype=np.dtype(np.uint16), images=images)


def _replay_source(frames: NDArray[Any]) -> FrameSource:
    def images(_first_id: int) -> Iterator[NDArray[Any]]:
        while True:
            yield from frames

    _, ny, nx = frames.shape
    return FrameSource(shape=(ny, nx), dtype=frames.dtype, images=images)
