"""Which reader reads which file."""

from collections.abc import Callable
from pathlib import Path

from apsdm_bluesky.errors import FormatError

from ._areadetector_hdf5 import AreaDetectorHdf5
from ._frames import read_frames
from ._imm import ImmSeries
from ._recording import RECORDING_SUFFIX, Recording
from ._rigaku import RigakuModule, RigakuSixModules
from ._series import ArraySeries, FrameSeries

__all__ = ["open_frames", "open_replay"]

_Reader = Callable[[Path], FrameSeries]
_READERS: dict[tuple[str, ...], _Reader] = {
    (".npy", ".npz", ".zip"): lambda path: ArraySeries(read_frames(path)),
    (".h5", ".hdf5", ".hdf"): AreaDetectorHdf5,
    (".bin",): RigakuModule,
    tuple(f".bin.{number:03d}" for number in range(6)): RigakuSixModules,
    (".imm",): ImmSeries,
}


def open_frames(path: Path) -> FrameSeries:
    """The frames of a file: `.npy`, `.npz`, `.zip` of one `.npy`, areaDetector HDF5, Rigaku, IMM.

    Raises
    ------
    FormatError
        The file cannot be read, is truncated, or is not what its name says. Damage further inside is told
        when it is reached.
    """
    reader = _reader_for(path)
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "no such file"
            raise FormatError(f"{path}: {what}; give a file of frames")
        return reader(path)
    except OSError as error:
        reason = error.strerror or error
        raise FormatError(f"{path}: cannot be read ({reason}); give a readable file") from error


def open_replay(path: Path) -> FrameSeries | Recording:
    """A recording, or the frames of a file.

    Raises
    ------
    FormatError
        As `open_frames` and `Recording` do.
    """
    return Recording(path) if path.suffix.lower() == RECORDING_SUFFIX else open_frames(path)


def _reader_for(path: Path) -> _Reader:
    for endings, reader in _READERS.items():
        if path.name.lower().endswith(endings):
            return reader
    known = ", ".join([*(ending for endings in _READERS for ending in endings), RECORDING_SUFFIX])
    raise FormatError(f"{path}: unknown kind of file; frames are read from {known}")
