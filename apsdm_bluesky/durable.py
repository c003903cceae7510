"""Names and contents of files that a crash does not take away again. Every room may use it."""

import contextlib
import ctypes
import os
from pathlib import Path

from apsdm_bluesky.errors import StorageError

_LIBC = ctypes.CDLL(None, use_errno=True)

__all__ = ["make_folder", "sync", "sync_file_system", "write_whole"]


def sync(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: Path) -> None:
    """Bring all that was written to the file system of `path` to the disk: one call for many small files."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(path))
    finally:
        os.close(fd)


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Create a folder and its parents, durably."""
    if exist_ok and folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=exist_ok)
    sync(folder.parent)


def write_whole(path: Path, content: bytes, *, overwrite: bool = False, mode: int = 0o666) -> None:
    """Write a file that has its name only when it is whole and on the disk.

    Parameters
    ----------
    mode
        Its permissions, less those that the process withholds from every new file.

    Raises
    ------
    StorageError
        A file of that name exists and `overwrite` is False, or it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
        sync(part)
        if overwrite:
            part.replace(path)
        else:
            os.link(part, path)  # refuses a name that is taken, whoever was first
        sync(path.parent)
    except FileExistsError as error:
        raise StorageError(f"{path}: exists already; choose another name, or let it be replaced") from error
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"{path}: cannot be written ({reason}); choose another folder, or free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the folder is none; told above
            part.unlink(missing_ok=True)
