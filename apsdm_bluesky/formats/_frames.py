"""Frames from files, for replay: NumPy's `.npy` and `.npz`, and a `.npy` in a `.zip`."""

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError

__all__ = ["read_frames"]

_SIZES = (1, 2, 4)  # bytes a pixel
_MEMORY_SHARE = 0.5
# What zipfile, zlib and NumPy's header parser raise on damaged input; a fuzzing test keeps it complete.
_DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, OverflowError, MemoryError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_frames(path: Path) -> NDArray[Any]:
    """The frames of a file, shape (n, ny, nx), dtype uint8, uint16 or uint32.

    A `.npy` is mapped, not read, so it may be larger than the memory. A `.zip` or `.npz` must hold one 3-D
    array, or one array. A 2-D array is one frame. Signed integers without negative values are taken as
    unsigned. Nothing in the file is executed (no pickles) and nothing is unpacked to disk.

    Raises
    ------
    FormatError
        The file cannot be read, is truncated, too large to be unpacked, or holds no frames of counts.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(f"{path}: unknown kind of file; frames are read from {', '.join(_READERS)}")
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "no such file"
            raise FormatError(f"{path}: {what}; give a file of frames")
        frames = reader(path)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: cannot be read ({reason}); give an intact {path.suffix} file") from error
    return _counts(path, frames)


def _mapped(path: Path) -> NDArray[Any]:
    return npy.open_memmap(path, mode="r")


def _unpacked(path: Path) -> NDArray[Any]:
    """The only array of an archive with 3 dimensions, or the only one with 2."""
    with zipfile.ZipFile(path) as archive:
        headers = {name: _header(archive, name) for name in archive.namelist() if name.endswith(".npy")}
        stacks = [name for name, (shape, _, _) in headers.items() if len(shape) == 3]
        chosen = stacks or list(headers)
        if len(chosen) != 1:
            found = ", ".join(f"{name} {shape}" for name, (shape, _, _) in headers.items()) or "none"
            raise FormatError(f"{path}: holds {found} where one array is wanted; save the frames as one .npy")
        return _loaded(path, archive, chosen[0])


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    with archive.open(name) as member:
        return _read_header(member)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, dtype."""
    version = npy.read_magic(member)
    if version == (1, 0):
        return npy.read_array_header_1_0(member)
    return npy.read_array_header_2_0(member)


def _loaded(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        shape, fortran, dtype = _read_header(member)
        if dtype.hasobject:
            raise FormatError(f"{path}: {name} holds Python objects; save counts as uint8, uint16 or uint32")
        size = math.prod(shape) * dtype.itemsize
        _refuse_too_large(path, name, size)
        # Compared before anything is allocated: a few bytes may say that they are many.
        if archive.getinfo(name).file_size != member.tell() + size:
            raise FormatError(f"{path}: {name} is not as long as its header says; give an intact file")
        frames = np.empty(shape[::-1] if fortran else shape, dtype)
        buffer = frames.reshape(-1).view(np.uint8).data
        filled = 0
        while count := member.readinto(buffer[filled : filled + (1 << 24)]):  # type: ignore[attr-defined]
            filled += count
        if filled < size:
            raise FormatError(f"{path}: {name} is truncated; give an intact file")
        return frames.T if fortran else frames


def _refuse_too_large(path: Path, name: str, size: int) -> None:
    limit = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _MEMORY_SHARE)
    if size > limit:
        raise FormatError(
            f"{path}: {name} is {size / 1e9:.1f} GB unpacked, more than half of this machine's memory; "
            "unpack it: a .npy file is read from disk"
        )


def _counts(path: Path, frames: NDArray[Any]) -> NDArray[Any]:
    """As unsigned integers in the machine's byte order, with 3 dimensions."""
    if frames.dtype.kind not in "ui" or frames.dtype.itemsize not in _SIZES:
        raise FormatError(f"{path}: holds {frames.dtype}; save counts as uint8, uint16 or uint32")
    if frames.ndim == 2:
        frames = frames[np.newaxis]
    if frames.ndim != 3 or frames.size == 0:
        raise FormatError(f"{path}: has shape {frames.shape}; frames have the shape (n, rows, columns)")
    if frames.dtype.kind == "i":
        if frames.min() < 0:
            raise FormatError(f"{path}: holds negative values; save counts as uint8, uint16 or uint32")
        frames = frames.view(frames.dtype.str.replace("i", "u"))
    return frames.astype(frames.dtype.newbyteorder("="), copy=False)


_READERS = {".npy": _mapped, ".npz": _unpacked, ".zip": _unpacked}
