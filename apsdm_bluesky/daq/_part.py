"""Where a file goes that was copied: under a name of its own, never over another one."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

from ._work import Last

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK = 1 << 22
_LONGEST_NAME = 255
_PART = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
# Faults of the target that are not about the file: the disk, the network, the whole folder.
_ALL_HINDERED = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ENODEV,
        errno.EMFILE,
        errno.ENFILE,
    }
)


class UnplaceableError(Exception):
    """The file cannot be put where it belongs; others can."""


class TargetError(Exception):
    """The experiment's folder cannot be written: no file can be taken for now."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a part has gone, absolute; `there`: the same content lay there already."""

    path: str
    version: int
    there: bool
    remark: str = ""


class Part:
    """A file that is not whole yet, and gets its name when it is.

    Every method raises `TargetError` or `UnplaceableError`.

    Parameters
    ----------
    data
        The experiment's folder of data.
    path
        The part's, on the same file system; one process at a time has it. Its folder is made where there is
        none, but not the one that this lies in.
    """

    def __init__(self, data: Path, path: Path) -> None:
        self._data = f"{data}/"
        self._part = str(path)
        self._folders: set[str] = set()

    def open(self) -> int:
        """A descriptor for writing the part anew."""
        try:
            return os.open(self._part, _PART, 0o666)
        except FileNotFoundError:
            _of_all(os.mkdir, os.path.dirname(self._part))  # noqa: PTH120 - not its parents: see there
            return _of_all(os.open, self._part, _PART, 0o666)
        except OSError as error:
            raise _hindered(error) from error

    def remove(self) -> None:
        """Leave nothing of it, as far as that is possible."""
        with suppress(OSError):
            os.unlink(self._part)  # noqa: PTH108

    def put(self, base: str, last: Last | None, size: int, digest: str | None) -> "Placed":
        """As the last version where that holds the same, else as the next one that is free."""
        if last is not None and (digest is None or digest == last.sha256):
            same = of_target(self._as_last, self._data + last.path, last, size, digest)
            if same is not None:
                return same
        return of_target(self._place, base, 1 if last is None else last.version + 1, size, digest)

    def _as_last(self, path: str, last: Last, size: int, digest: str | None) -> "Placed | None":
        """The last version, if it holds the same; where it is no longer there it is put back."""
        try:
            if digest is None:
                if not self._is_same(path, size, None):
                    return None
            elif Path(path).lstat().st_size != size:
                return None
        except FileNotFoundError:
            if digest is None:
                return None
            self._link(path)
            return Placed(path, last.version, True, "had been removed from the experiment, and was put back")
        os.unlink(self._part)  # noqa: PTH108
        return Placed(path, last.version, True)

    def _place(self, base: str, first: int, size: int, digest: str | None) -> "Placed":
        for version in count(first):
            path = versioned(base, version)
            try:
                self._link(path)
            except FileExistsError:
                if not self._is_same(path, size, digest):
                    continue
                os.unlink(self._part)  # noqa: PTH108
                return Placed(path, version, True)
            return Placed(path, version, False)
        raise UnplaceableError(f"{base}: has no free name")  # `count` does not end

    def _link(self, path: str) -> None:
        """Give the part its name, unless that is taken; its folder may have been removed meanwhile."""
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._make(folder)
        try:
            os.link(self._part, path)
        except FileNotFoundError:
            self._make(folder)
            os.link(self._part, path)
        os.unlink(self._part)  # noqa: PTH108 - a path object for each file costs as much as the call

    def _make(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._folders.add(folder)

    def _is_same(self, path: str, size: int, digest: str | None) -> bool:
        """Whether a file holds what the part holds."""
        info = Path(path).lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            return False
        with Path(path).open("rb") as one, Path(self._part).open("rb") as other:
            if digest is not None:
                return hashlib.file_digest(one, "sha256").hexdigest() == digest
            return all(one.read(_CHUNK) == part for part in iter(lambda: other.read(_CHUNK), b""))


def versioned(base: str, version: int) -> str:
    """Where a version lies: `scan.h5`, then `scan.v2.h5`. A name that gets too long loses its middle."""
    if version == 1:
        return base
    path = PurePosixPath(base)
    end = f".v{version}{path.suffix}"
    room = _LONGEST_NAME - len(os.fsencode(end))
    stem = os.fsencode(path.stem)[: max(room, 1)].decode(errors="ignore")
    return str(path.with_name(stem + end))


def of_target(do: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Do something where files go: what goes wrong there is not the file's fault."""
    try:
        return do(*args, **more)
    except OSError as error:
        if error.errno in _ALL_HINDERED:
            raise _hindered(error) from error
        raise UnplaceableError(_told(error)) from error


def _of_all(do: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Do something that no file can do without."""
    try:
        return do(*args, **more)
    except OSError as error:
        raise _hindered(error) from error


def _hindered(error: OSError) -> TargetError:
    return TargetError(_told(error))


def _told(error: OSError) -> str:
    return f"{error.filename or 'the experiment'}: {error.strerror or error}"
