"""Frames that a simulated camera sends from files: a reader's series, or a recording as it came."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import FrameSeries, RecordedMessage, Recording
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch
from apsdm_bluesky.reduction import pack_events, unpack_events
from apsdm_bluesky.sources import structure_of

from ._frame_source import FrameSource, Layout, Message, Take

__all__ = ["recorded_source", "series_source"]

_BATCH_FRAMES = 256
# What pvapy raises for values that do not fit their field.
_UNFIT = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, pvaccess.PvaException)


def series_source(series: FrameSeries, layout: Layout) -> FrameSource:
    """The frames of a file; each acquisition starts with the first one and ends with the last."""
    return FrameSource(
        shape=series.shape, dtype=series.dtype, series=lambda _first_id: _Player(series, layout)
    )


def recorded_source(recording: Recording) -> FrameSource:
    """A recording's messages with their numbers, gaps and times.

    Raises
    ------
    FormatError
        The recording does not tell what was acquired.
    """
    acquisition, base_id = recording.acquisition, recording.base_id

    def series(_first_id: int) -> Take:
        messages = _recorded(recording, base_id)
        return lambda _count: next(messages, None)

    dtype = np.dtype(acquisition.dtype)
    return FrameSource(shape=acquisition.frame_shape, dtype=dtype, series=series, base_id=base_id)


class _Player:
    """One pass through a series: messages of the size first asked for, the last one may be shorter."""

    def __init__(self, series: FrameSeries, layout: Layout) -> None:
        self._series = series
        self._layout = layout
        self._batches: Iterator[Batch] | None = None
        self._next = 0

    def __call__(self, count: int) -> Message | None:
        if self._batches is None:
            self._batches = _of_size(self._series, count)
        batch = next(self._batches, None)
        if batch is None:
            return None
        first, skipped = int(batch.indices[0]), int(batch.indices[0]) - self._next
        self._next = int(batch.indices[-1]) + 1
        frames = min(count, len(batch))
        if self._layout == "images":
            images = batch.frames if isinstance(batch, FrameBatch) else unpack_events(batch).frames
            return Message(data=images[:frames], frames=frames, skipped=skipped)
        packed = batch if isinstance(batch, EventBatch) else pack_events(batch)
        return Message(
            data=packed.words[: packed.offsets[frames]],
            frames=frames,
            first_frame=first if packed is batch else 0,
            skipped=skipped,
        )


def _of_size(series: FrameSeries, size: int) -> Iterator[Batch]:
    return series.batches(size) if series.events else _stacks(series, size)


def _stacks(series: FrameSeries, size: int) -> Iterator[FrameBatch]:
    held: list[NDArray[Any]] = []
    indices: list[int] = []
    for batch in series.batches(_BATCH_FRAMES):
        frames = batch.frames if isinstance(batch, FrameBatch) else unpack_events(batch).frames
        for image, index in zip(frames, batch.indices, strict=True):
            held.append(image if size == 1 else image.copy())
            indices.append(int(index))
            if size > 1 and indices[-1] - indices[0] >= len(indices):
                raise FormatError(f"frame {index} follows a gap: send these frames one a message")
            if len(held) == size:
                yield FrameBatch(frames=_stack(held), indices=np.array(indices))
                held, indices = [], []
    if held:
        yield FrameBatch(frames=_stack(held), indices=np.array(indices))


def _stack(images: list[NDArray[Any]]) -> NDArray[Any]:
    return images[0][None] if len(images) == 1 else np.stack(images)


def _recorded(recording: Recording, base_id: int) -> Iterator[Message]:
    acquisition = recording.acquisition
    last, first_ns = base_id, None
    for recorded in recording.messages():
        if recorded.payload is None:
            continue  # the channel before its first frame
        first_ns = recorded.arrival_ns if first_ns is None else first_ns
        structure = _ntndarray(recorded, recording)
        number = int(structure["uniqueId"])
        before = (number - base_id - 1) * acquisition.frames_per_message
        yield Message(
            data=recorded.payload,
            frames=max(1, min(acquisition.frames_per_message, acquisition.expected - before)),
            skipped=number - last - 1,
            due_s=1e-9 * (recorded.arrival_ns - first_ns),
            structure=structure,
        )
        last = number


def _ntndarray(recorded: RecordedMessage, recording: Recording) -> pvaccess.PvObject:
    """The structure as it came."""
    frame = pvaccess.NtNdArray()
    try:
        for name, value in structure_of(recorded).items():
            frame[name] = value[0] if name == "value" else _with_types(value)
    except _UNFIT as error:
        raise FormatError(
            f"{recording.path}: a message is no NTNDArray that could be sent ({error})"
        ) from error
    return frame


def _with_types(value: Any) -> Any:
    """The types of variants, which a recording names, as pvapy wants them."""
    if isinstance(value, tuple):
        inner, types = value
        return inner, {key: getattr(pvaccess.ScalarType, name) for key, name in types.items()}
    if isinstance(value, dict):
        return {key: _with_types(inner) for key, inner in value.items()}
    return [_with_types(inner) for inner in value] if isinstance(value, list) else value
