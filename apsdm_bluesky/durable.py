"""Names and contents of files that a crash does not take away again. Every room may use it."""

import os
from pathlib import Path

__all__ = ["make_folder", "sync"]


def sync(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Create a folder and its parents, durably."""
    if exist_ok and folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=exist_ok)
    sync(folder.parent)
