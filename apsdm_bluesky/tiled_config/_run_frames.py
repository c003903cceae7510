"""The raw frames of a catalogued run, read through a Tiled client."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from apsdm_bluesky.errors import FormatError, ReductionError, ServiceError
from apsdm_bluesky.formats import frames_within
from apsdm_bluesky.model import (
    COUNT_BITS,
    FRAME_SHIFT,
    PIXEL_SHIFT,
    AcquisitionLedger,
    Batch,
    EventBatch,
    FrameBatch,
)

if TYPE_CHECKING:
    import sparse
    from numpy.typing import NDArray

__all__ = ["RunFrames"]

_MAX_COUNT = (1 << COUNT_BITS) - 1
_LEDGER = tuple(field for field in AcquisitionLedger.__slots__ if field != "gaps")


class RunFrames:
    """A `FrameSeries` of a run in the catalogue; frames that are missing there have no place in its batches.

    Frames that are stored as events are read as events where the catalogue offers them so, else as images.

    Parameters
    ----------
    run
        The run as a Tiled client: an entry of `raw`.

    Attributes
    ----------
    start, stop
        The run's documents.
    camera
        The camera's settings, values by key.
    detector
        The name of the detector.
    ledger
        What became of the frames; None where the run has no ledger (its session was killed).

    Raises
    ------
    ReductionError
        The run is not at its end, or holds no raw frames, or those of several detectors.
    ServiceError
        The server does not answer.
    """

    def __init__(self, run: Any) -> None:
        with _told():
            self.start: dict[str, Any] = dict(run.metadata["start"])
            self._name = f"run {self.start['uid']}"
            self.stop: dict[str, Any] = dict(run.metadata.get("stop") or {})
            if not self.stop:
                raise ReductionError(f"{self._name}: is not at its end yet; wait for its stop document")
            self.detector, stream = self._only_detector(run)
            self._pixels = stream[self._key("image")]
            self._events = stream.get(self._key("events"))
            self._indices: NDArray[np.int64] = stream[self._key("frame_index")].read()
            self.camera: dict[str, Any] = stream.metadata["configuration"][self.detector]["data"]
            self.ledger = self._account(run)
        self.shape: tuple[int, int] = self._pixels.shape[1:]
        self.dtype = np.dtype(self._pixels.dtype)
        self.events = self._events is not None

    @property
    def frames(self) -> int:
        """Frames that were expected: missing ones count."""
        return self.ledger.expected if self.ledger else int(self._indices[-1]) + 1

    @property
    def period_s(self) -> float | None:
        """Time between frames [s], as the camera was set."""
        times = (self.camera.get(self._key(f"cam_{key}")) for key in ("acquire_period", "acquire_time"))
        return max((float(seconds) for seconds in times if seconds), default=None)

    def batches(self, size: int) -> Iterator[Batch]:
        """The stored frames in order; see `FrameSeries.batches`. The next batch is fetched meanwhile.

        Raises
        ------
        ServiceError
            The server does not answer, or cannot read the frames.
        """
        size = frames_within(size, self.shape, self.dtype)
        parts = [slice(first, first + size) for first in range(0, len(self._indices), size)]
        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            ahead = [pool.submit(self._batch, part) for part in parts[:1]]
            for part in [*parts[1:], None]:
                batch = ahead.pop().result()
                if part is not None:
                    ahead.append(pool.submit(self._batch, part))
                yield batch

    def _batch(self, part: slice) -> Batch:
        indices = self._indices[part]
        with _told():
            if self._events is not None:
                return _event_batch(self._events[part.start : part.start + len(indices)], indices)
            return FrameBatch(frames=self._pixels[part.start : part.start + len(indices)], indices=indices)

    def _only_detector(self, run: Any) -> tuple[str, Any]:
        stream = run.get("primary", {})
        names = [
            name
            for name in self.start.get("detectors", ())
            if f"{name}_image" in stream and f"{name}_frame_index" in stream
        ]
        if not names or not stream[f"{names[0]}_image"].shape[0]:
            raise ReductionError(f"{self._name}: holds no raw frames; only what was stored can be reduced")
        if len(names) > 1:
            raise ReductionError(f"{self._name}: holds frames of {', '.join(names)}; only one can be reduced")
        return names[0], stream

    def _account(self, run: Any) -> AcquisitionLedger | None:
        if "ledger" not in run:
            return None
        stream = run["ledger"]
        values = {key: int(stream[self._key(key)].read()[0]) for key in _LEDGER}
        gaps = json.loads(str(stream[self._key("gaps")].read()[0]))
        return AcquisitionLedger(**values, gaps=tuple((first, length) for first, length in gaps))

    def _key(self, name: str) -> str:
        return f"{self.detector}_{name}"


def _event_batch(frames: "sparse.COO", indices: "NDArray[np.int64]") -> EventBatch:
    """Event words of coordinates, which are in order, and counts.

    A count that is too large for one word is told in several: they add up.
    """
    counts = frames.data.astype(np.int64)
    if counts.size and counts.min() < 0:
        raise FormatError("a stored frame has a negative count")
    rows, y, x = frames.coords.astype(np.uint64)
    full, rest = np.divmod(counts, _MAX_COUNT)
    places = np.concatenate([np.repeat(np.arange(len(counts)), full), np.flatnonzero(rest)])
    values = np.concatenate([np.full(full.sum(), _MAX_COUNT), rest[rest > 0]]).astype(np.uint64)
    order = np.argsort(places, kind="stable")
    pixels = y * np.uint64(frames.shape[2]) + x
    words = (rows << np.uint64(FRAME_SHIFT) | pixels << np.uint64(PIXEL_SHIFT))[places[order]] | values[order]
    offsets = np.searchsorted(rows[places[order]], np.arange(len(indices) + 1, dtype=np.uint64))
    return EventBatch(words=words, offsets=offsets, indices=indices, shape=frames.shape[1:])


@contextmanager
def _told() -> Iterator[None]:
    """A server's fault in one line."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        reason = " ".join(str(error).split())[:300]
        raise ServiceError(f"the Tiled server cannot give these frames: {reason}") from error
    except httpx.HTTPError as error:
        raise ServiceError(f"the Tiled server does not answer any more ({error})") from error
