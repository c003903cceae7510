"""Writing to disk so that it stays there, with errors a user can act on."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import StorageError


@contextlib.contextmanager
def storage_errors(path: Path, task: str) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that names the path and what was tried."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, task, error) from error


def storage_error(path: Path, task: str, error: OSError) -> StorageError:
    """The error that names the path and what was tried."""
    reason = error.strerror or error
    return StorageError(f"{path}: cannot {task} ({reason}); free space or give write permission there")


def append(fd: int, data: bytes) -> None:
    """Append all of `data` in one write, or nothing: what a full disk took in part is cut off again."""
    size = os.fstat(fd).st_size
    try:
        written = os.write(fd, data)
        while written < len(data):  # the kernel takes at most 2 GiB at once; a full disk fails the next write
            written += os.write(fd, data[written:])
    except OSError:
        os.ftruncate(fd, size)
        raise


def write_durably(path: Path, data: bytes) -> None:
    """Replace a small file as a whole: its old or its new content survives any crash, nothing between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with storage_errors(path, "write"):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            append(fd, data)
            os.fsync(fd)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        temporary.replace(path)
        sync(path.parent)
