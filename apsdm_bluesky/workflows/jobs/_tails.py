"""The ends of output files."""

import os
import stat
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def tail(path: Path, size: int) -> bytes:
    """The last bytes of a file, so many at most; none where no plain file is there.

    A process may put a link or a pipe in its place: the one is not followed, the other not waited for.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return b""
        file.seek(max(0, found.st_size - size))
        return file.read(size)


def tail_text(path: Path, size: int) -> str:
    """The same as text; bytes that are no UTF-8 become U+FFFD."""
    return tail(path, size).decode(errors="replace")
