"""The files that a process prints to: it may have put a link or a pipe in their place."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from apsdm_bluesky.errors import StorageError

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_output(path: Path) -> BinaryIO | None:
    """The file, to be read; None where it is not there. Never waits, and follows no link.

    Raises
    ------
    StorageError
        It cannot be read, or is no plain file.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; it is not shown") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path}: is no plain file; it is not shown")
    return os.fdopen(descriptor, "rb")


def tail(path: Path, size: int) -> bytes:
    """The last bytes of the file, `size` at most; none where there is no plain file that can be read."""
    try:
        file = open_output(path)
        if file is None:
            return b""
        with file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except (StorageError, OSError):  # what becomes of the process does not hang on what it left there
        return b""
