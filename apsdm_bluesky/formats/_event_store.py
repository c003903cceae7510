"""Read frames out of the events that `RawWriter` writes. The files may be anybody's: all is checked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError

from ._events import check_storable, scatter, too_many, unpack

# What one frame, and one request, may cost: a store of a few bytes can claim any number of rows and events.
_MOST_PIXELS = 2**26
_MOST_EVENTS = 2**30
_READ_ROWS = 2**16
_READ_EVENTS = 2**21  # at once, where a frame does not have more


class EventStore:
    """Frames that are stored as events, expanded when they are read.

    Parameters
    ----------
    path
        The group ``image`` of a raw store.

    Attributes
    ----------
    shape
        (n, ny, nx).
    dtype
        Of the pixels.

    Raises
    ------
    FormatError
        The group is not there, or not what it should be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            group = zarr.open_group(path, mode="r", zarr_format=3)
            self._events, self._spans = _array(group, "events", 1, "u8"), _array(group, "spans", 2, "i8")
            attributes: dict[str, Any] = dict(group.attrs)
            ny, nx = (int(length) for length in attributes["frame_shape"])
            self.dtype = np.dtype(str(attributes["dtype"]))
            check_storable(self.dtype)
            _check(min(ny, nx) > 0 and ny * nx <= _MOST_PIXELS, f"frames of ({ny}, {nx})")
            _check(self._spans.shape[1] == 2, "spans are no pairs")
        except Exception as error:
            # zarr raises whatever its parsers raise about files that are damaged.
            raise FormatError(f"{path}: is no readable event store ({_one_line(error)})") from error
        self.shape = (int(self._spans.shape[0]), ny, nx)

    def frames(self, rows: range) -> Iterator[NDArray[Any]]:
        """The frames of some rows, one by one. The array is the same each time: copy what must last.

        Raises
        ------
        FormatError
            The store is damaged there, or has no such row.
        """
        frame = np.zeros(self.shape[1:], self.dtype)
        pixels = frame.reshape(-1)
        for events in self.events(rows):
            scatter(events, frame)
            yield frame
            pixels[(events >> np.uint64(32)).astype(np.int64)] = 0  # the rest still is

    def events(self, rows: range) -> Iterator[NDArray[np.uint64]]:
        """The events of each of some rows; errors as of `frames`."""
        if len(rows) and not (min(rows[0], rows[-1]) >= 0 and max(rows[0], rows[-1]) < self.shape[0]):
            raise FormatError(f"{self._path}: has {self.shape[0]} frames, not rows {rows[0]} to {rows[-1]}")
        total = 0
        for start in range(0, len(rows), _READ_ROWS):
            part = rows[start : start + _READ_ROWS]
            # zarr reads forwards only.
            spans = self._checked_spans(part[::-1])[::-1] if part.step < 0 else self._checked_spans(part)
            total += int((spans[:, 1] - spans[:, 0]).sum())
            if total > _MOST_EVENTS:
                raise FormatError(
                    f"{self._path}: more than {_MOST_EVENTS} events; ask for fewer frames at once"
                )
            yield from self._events_of(spans)

    def _events_of(self, spans: NDArray[np.int64]) -> Iterator[NDArray[np.uint64]]:
        place = 0
        while place < len(spans):
            count = _together(spans[place:])
            start, stop = int(spans[place : place + count].min()), int(spans[place : place + count].max())
            events = self._read(self._events, slice(start, stop))
            for first, last in spans[place : place + count] - start:
                yield events[first:last]
            place += count

    def coordinates(self, frames: Sequence[NDArray[np.uint64]]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Events of some frames as (frame, y, x), shape (3, m), and the values, shape (m,)."""
        events = np.concatenate([np.empty(0, np.uint64), *frames])
        places = np.repeat(np.arange(len(frames)), [len(each) for each in frames])
        pixels, values = unpack(events, self.dtype)
        size = self.shape[1] * self.shape[2]
        if pixels.size and pixels.max() >= size:
            raise FormatError(f"{self._path}: an event lies outside of its frame")
        keys, values = _added_up(places * size + pixels, values)
        places, pixels = np.divmod(keys, size)
        return np.stack([places, *np.divmod(pixels, self.shape[2])]), values

    def _checked_spans(self, rows: range) -> NDArray[np.int64]:
        """(first, last) of each row's events: none has more than pixels, and all lie in the array."""
        spans = self._read(self._spans, slice(rows.start, rows.stop, rows.step))
        counts = spans[:, 1] - spans[:, 0]
        pixels = self.shape[1] * self.shape[2]
        if len(spans) and (
            spans.min() < 0
            or spans.max() > self._events.shape[0]
            or counts.min() < 0
            or counts.max() > pixels
        ):
            raise FormatError(f"{self._path}: its spans are damaged at rows {rows[0]} to {rows[-1]}")
        return spans

    def _read(self, array: Any, part: slice) -> NDArray[Any]:
        try:
            return np.asarray(array[part])
        except Exception as error:
            raise FormatError(f"{self._path}: is damaged in {array.name} ({_one_line(error)})") from error


def _array(group: zarr.Group, name: str, ndim: int, dtype: str) -> Any:
    array = group[name]
    fits = isinstance(array, zarr.Array) and array.ndim == ndim and array.dtype == np.dtype(f"<{dtype}")
    _check(fits, f"{name} has not {ndim} dimensions of {dtype}")
    return array


def _check(right: bool, fault: str) -> None:
    if not right:
        raise FormatError(fault)


def _added_up(keys: NDArray[np.int64], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Each key once, in order, with the sum of its values."""
    if (np.diff(keys) > 0).all():
        return keys, values
    once, where = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(once), np.int64)
    np.add.at(sums, where, values)
    limits = np.iinfo(values.dtype)
    if sums.max() > limits.max or sums.min() < limits.min:
        raise too_many(values.dtype)
    return once, sums.astype(values.dtype)


def _together(spans: NDArray[np.int64]) -> int:
    """How many of the first spans are read at once: as far as they lie close together."""
    lowest = np.minimum.accumulate(spans[:, 0])
    highest = np.maximum.accumulate(spans[:, 1])
    return max(1, int(np.searchsorted(highest - lowest, _READ_EVENTS, side="right")))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
