"""One file from collection to collection, written in place as Globus does."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["CopyError", "copy_in_place", "spoil", "translated"]

CHUNK_BYTES = 1 << 16
_CODES: tuple[tuple[type[OSError], str], ...] = (
    (FileNotFoundError, "FILE_NOT_FOUND"),
    (NotADirectoryError, "FILE_NOT_FOUND"),
    (PermissionError, "PERMISSION_DENIED"),
    (IsADirectoryError, "NOT_A_FILE"),
)


class CopyError(Exception):
    """A fault of a task: tried again until the deadline, unless `fatal`.

    Parameters
    ----------
    code
        Code of the event, for instance ``FILE_NOT_FOUND``.
    details
        What the server said.
    source
        It happened on the source, so that ``skip_source_errors`` may skip the file.
    fatal
        The task fails.
    """

    def __init__(self, code: str, details: str, *, source: bool = False, fatal: bool = False) -> None:
        super().__init__(f"{code}: {details}")
        self.code, self.details, self.source, self.fatal = code, details, source, fatal


def translated(error: OSError, *, source: bool) -> CopyError:
    """The fault that an error of the file system is for Globus."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "ENDPOINT_ERROR")
    return CopyError(code, f"{error.strerror}: {error.filename}", source=source)


def copy_in_place(source: Path, target: Path, proceed: Callable[[int, int], None]) -> str:
    """Overwrite `target` from its first byte; what was there is gone from the first chunk on.

    Parameters
    ----------
    proceed
        Called before the first chunk and after every one with the bytes of the file so far and of the last
        chunk. It may raise to leave a partial file.

    Returns
    -------
    str
        MD5 of the bytes written.

    Raises
    ------
    CopyError
        The file system refused.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        file = source.open("rb")
    except OSError as error:
        raise translated(error, source=True) from error
    with file:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb", buffering=0) as out:
                proceed(0, 0)
                while chunk := file.read(CHUNK_BYTES):
                    out.write(chunk)
                    digest.update(chunk)
                    proceed(out.tell(), len(chunk))
        except OSError as error:
            raise translated(error, source=False) from error
    return digest.hexdigest()


def spoil(path: Path, *, offset: int | None = None, truncate: bool = False) -> None:
    """Flip the lowest bit at `offset` (None: in the middle), or cut the file to a half. Its times stay."""
    status = path.stat()
    with path.open("r+b") as file:
        if truncate:
            file.truncate(status.st_size // 2)
        else:
            position = status.st_size // 2 if offset is None else offset
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
