"""Frames as a file that boost-corr reads, and the file of metadata that it wants beside it.

A Rigaku module's events are written as the detector writes them (`.bin`), all other frames as areaDetector's
HDF5. boost-corr 0.1.7 begins its result file with a copy of the metadata, and knows no frame that is missing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.model import FRAME_SHIFT, Batch, EventBatch

from ._pixels import dense_frames
from ._rigaku import RigakuModule
from ._series import FrameSeries
from ._xpcs_record import Provenance

_BATCH_FRAMES = 256
_SCHEMA = "1.0"  # of the metadata; boost-corr looks only whether it is there


def write_for_boost_corr(folder: Path, name: str, frames: FrameSeries, facts: Provenance) -> Path:
    """Write frames and metadata into a folder; returns the file of the frames.

    Raises
    ------
    FormatError
        A frame is missing: every later delay would be wrong.
    StorageError
        A file exists already, or cannot be written.
    """
    events = frames.events and frames.shape == RigakuModule.shape
    path = folder / f"{name}{'.bin' if events else '.h5'}"
    try:
        with _new(path) as part:
            (_write_words if events else _write_images)(part, frames)
        with _new(folder / f"{name}_metadata.hdf") as part:
            _write_metadata(part, facts)
    except FileExistsError as error:
        raise StorageError(f"{path}: exists already; choose another folder") from error
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{folder}: cannot be written ({reason}); choose another folder") from error
    return path


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A file to write, which gets its name at the end; nothing stays where that is not reached."""
    if path.exists():
        raise FileExistsError
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.link(part, path)  # refuses a name that is taken
    finally:
        part.unlink(missing_ok=True)


def _whole(frames: FrameSeries) -> Iterator[Batch]:
    """The batches, with no frame missing."""
    count = 0
    for batch in frames.batches(_BATCH_FRAMES):
        gaps = np.flatnonzero(batch.indices != np.arange(count, count + len(batch)))
        if len(gaps):
            raise _missing(count + int(gaps[0]))
        count += len(batch)
        yield batch
    if count < frames.frames:
        raise _missing(count)


def _missing(frame: int) -> FormatError:
    return FormatError(
        f"frame {frame} is missing, and every later delay would be wrong; reduce the run by 'apsdm reduce', "
        "which knows of gaps"
    )


def _write_words(path: Path, frames: FrameSeries) -> None:
    with path.open("wb") as file:
        for batch in _whole(frames):
            if isinstance(batch, EventBatch):
                _renumbered(batch).astype("<u8", copy=False).tofile(file)


def _renumbered(batch: EventBatch) -> NDArray[np.uint64]:
    """The words, with the frames' numbers in the series."""
    numbers = np.repeat(batch.indices, np.diff(batch.offsets)).astype(np.uint64)
    words = batch.words[batch.offsets[0] : batch.offsets[-1]]
    return words & np.uint64((1 << FRAME_SHIFT) - 1) | numbers << np.uint64(FRAME_SHIFT)


def _write_images(path: Path, frames: FrameSeries) -> None:
    import hdf5plugin  # where a file is written only

    with h5py.File(path, "w") as file:
        images = file.create_dataset(
            "entry/data/data",
            (frames.frames, *frames.shape),
            frames.dtype,
            chunks=(1, *frames.shape),
            **hdf5plugin.Bitshuffle(),
        )
        for batch in _whole(frames):
            first = int(batch.indices[0])
            for row, image in enumerate(_images(batch, frames.dtype), first):
                images[row] = image


def _images(batch: Batch, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    return dense_frames(batch, dtype) if isinstance(batch, EventBatch) else iter(batch.frames)


def _write_metadata(path: Path, facts: Provenance) -> None:
    """Where XPCS result files have it."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry["schema_version"] = _SCHEMA
        entry["entry_identifier"] = facts.identifier
        entry["start_time"] = facts.start_time
        entry["end_time"] = facts.end_time
        entry["instrument/detector_1/frame_time"] = facts.frame_period_s
        entry["instrument/detector_1/count_time"] = facts.exposure_s
        entry["instrument/incident_beam/incident_energy"] = facts.energy_kev
        entry["instrument/bluesky/metadata/raw_uid"] = facts.raw_uid
