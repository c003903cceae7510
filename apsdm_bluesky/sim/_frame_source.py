"""Where a simulated camera takes its frames from: the speckle sample, or a file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.model import FRAME_SHIFT, FrameBatch

from ._speckle import SpeckleSample

__all__ = ["FrameSource", "Layout", "Message", "Take", "open_source"]

Layout = Literal["images", "events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Some consecutive frames.

    Parameters
    ----------
    data
        Images, shape (n, ny, nx); or the packed words of all n, shape (m,), uint64. Valid until the next
        message is taken.
    frames
        n.
    first_frame
        The number of the first frame in packed words.
    skipped
        Messages that are missing before it; negative where it comes late, or again.
    due_s
        When it is to be sent, after the acquisition's start [s]; None: with its last frame.
    structure
        The NTNDArray to be sent as it is; None: one is made of `data`.
    """

    data: NDArray[Any]
    frames: int
    first_frame: int = 0
    skipped: int = 0
    due_s: float | None = None
    structure: Any = None


Take = Callable[[int], Message | None]
"""Gives the next so many frames of an acquisition; None where a file has no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """Frames for each acquisition.

    Parameters
    ----------
    shape
        Rows, columns.
    dtype
        Of the images.
    series
        From the number of an acquisition's first message to its frames.
    base_id
        Number of the message before the first one of the first acquisition.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    series: Callable[[int], Take]
    base_id: int = 0


def open_source(simulation: SimulationConfig, layout: Layout = "images") -> FrameSource:
    """The file's frames where one is named, else the simulated sample.

    Raises
    ------
    FormatError
        The file cannot be used.
    ReductionError
        Its frames cannot be sent as events.
    """
    if simulation.frames_file is None:
        return _sample_source(SpeckleSample(simulation), layout)
    # Only now: the simulated sample starts sooner without.
    from apsdm_bluesky.formats import ArraySeries, Recording, open_replay

    from ._replay import recorded_source, series_source

    replayed = open_replay(simulation.frames_file)
    if isinstance(replayed, Recording):
        return recorded_source(replayed)
    if not isinstance(replayed, ArraySeries):
        return series_source(replayed, layout)
    frames = replayed.images
    take = _events_in_turn if layout == "events" else _images_in_turn
    _, ny, nx = frames.shape
    return FrameSource(shape=(ny, nx), dtype=frames.dtype, series=take(frames))


def _sample_source(sample: SpeckleSample, layout: Layout) -> FrameSource:
    def series(first_id: int) -> Take:
        speckle = sample.series(first_id)
        room = np.empty((1, *sample.shape), np.uint16)

        def take(count: int) -> Message:
            nonlocal room
            if len(room) < count:
                room = np.empty((count, *sample.shape), np.uint16)
            images = room[:count]
            speckle.fill(images)
            return Message(data=_words(images) if layout == "events" else images, frames=count)

        return take

    series(0)(1)  # compiled now, not while frames are due
    return FrameSource(shape=sample.shape, dtype=np.dtype(np.uint16), series=series)


def _images_in_turn(frames: NDArray[Any]) -> Callable[[int], Take]:
    def series(_first_id: int) -> Take:
        position = 0

        def take(count: int) -> Message:
            nonlocal position
            begin, position = position, (position + count) % len(frames)
            if begin + count <= len(frames):
                return Message(data=frames[begin : begin + count], frames=count)
            return Message(data=frames[np.arange(begin, begin + count) % len(frames)], frames=count)

        return take

    return series


def _events_in_turn(frames: NDArray[Any]) -> Callable[[int], Take]:
    """Packed once: a message is a part of the words, or of several turns of them."""
    words = _words(frames)
    places = np.searchsorted(words >> np.uint64(FRAME_SHIFT), np.arange(len(frames) + 1))

    def series(_first_id: int) -> Take:
        position = 0

        def take(count: int) -> Message:
            nonlocal position
            begin, position = position, (position + count) % len(frames)
            end = begin + count
            turns = []
            for turn in range(-(-end // len(frames))):
                first, stop = max(begin - turn * len(frames), 0), min(end - turn * len(frames), len(frames))
                part = words[places[first] : places[stop]]
                turns.append(part + np.uint64(turn * len(frames) << FRAME_SHIFT) if turn else part)
            data = turns[0] if len(turns) == 1 else np.concatenate(turns)
            return Message(data=data, frames=count, first_frame=begin)

        return take

    return series


def _words(images: NDArray[Any]) -> NDArray[np.uint64]:
    from apsdm_bluesky.reduction import pack_events  # only now: as above

    return pack_events(FrameBatch(frames=images, indices=np.arange(len(images)))).words
