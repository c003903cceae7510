"""The sum of all frames, pixel by pixel."""

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from ._checks import INT64_MAX
from ._intensity_kernels import add_frames
from ._kernels import add_to_image
from ._workers import Workers

_UINT32_MAX = 2**32 - 1


class SumImage:
    """Sums frames or events into 64 bits, exactly; the order and the threads do not show.

    Events go to 32-bit images, one a thread, while those are sure to hold them: scattered additions are half
    as fast into 64 bits, and threads cannot share an image.
    """

    def __init__(self, shape: tuple[int, int], workers: Workers) -> None:
        self._shape, self._workers = shape, workers
        self._image = np.zeros(shape[0] * shape[1], np.int64)
        self._recent = np.zeros((0, self._image.size), np.uint32)
        self._recent_bound = 0
        self._bound = 0

    def reserve(self, number: int, highest: int) -> None:
        """Answer for the coming frames: each pixel counts at most `highest` so many times.

        Raises
        ------
        ReductionError
            The sum could leave int64.
        """
        bound = self._bound + number * highest
        if bound > INT64_MAX:
            raise ReductionError(
                f"sum image: counts up to {highest} could exceed 64 bits; mask them at the source"
            )
        self._bound = bound

    def add_frames(self, flat: NDArray[np.integer]) -> None:
        """Add frames (n, ny * nx)."""
        cuts = np.linspace(0, flat.shape[1], self._workers.threads + 1).astype(np.int64)
        self._workers.run(
            lambda part: add_frames(flat, cuts[part], cuts[part + 1], self._image), self._workers.threads
        )

    def add_words(self, words: NDArray[np.uint64], highest: int) -> None:
        """Add events that were checked, with counts up to `highest`."""
        bound = len(words) * highest
        if self._recent_bound + bound > _UINT32_MAX:
            self._add_recent()
        if bound > _UINT32_MAX:
            add_to_image(words, self._image)
            return
        threads = self._workers.threads
        if not len(self._recent):
            self._recent = np.zeros((threads, self._image.size), np.uint32)
        cuts = np.linspace(0, len(words), threads + 1).astype(np.int64)
        self._workers.run(
            lambda part: add_to_image(words[cuts[part] : cuts[part + 1]], self._recent[part]), threads
        )
        self._recent_bound += bound

    def result(self) -> NDArray[np.int64]:
        """The sums so far, (ny, nx)."""
        self._add_recent()
        return self._image.reshape(self._shape).copy()

    def _add_recent(self) -> None:
        if self._recent_bound:
            self._image += self._recent.sum(axis=0, dtype=np.int64)
            self._recent[:] = 0
            self._recent_bound = 0
