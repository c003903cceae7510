"""Where files go: an experiment's data, written without following a link in it."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from ._source import Folder, OddFileError, Source, enter

P = ParamSpec("P")
T = TypeVar("T")

# Faults that are not about one file: the disk, the network, the whole folder.
_ALL_HINDERED = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EMFILE,
        errno.ENFILE,
    }
)


class UnplaceableError(Exception):
    """The file cannot be put where it belongs; others can."""


class TargetError(Exception):
    """The experiment's folder cannot be written: no file can be taken for now."""


class Target:
    """The folders below an experiment's data. Raises `TargetError`, `UnplaceableError` or `OSError`.

    Parameters
    ----------
    data
        The folder of data; it may itself be reached through links, as staff have set it up.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._opened: Source | None = None

    def folder(self, name: str) -> Folder:
        """A folder below, which is made where it is not there; '' for the data themselves."""
        try:
            return self._root().folder(name)
        except FileNotFoundError:
            return self._made(name)
        except OddFileError as error:
            raise UnplaceableError(f"{self._data / name}: {error.reason}") from error

    def close(self) -> None:
        """What is open is closed."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _root(self) -> Source:
        if self._opened is None or not self._opened.in_place():
            self.close()
            self._data.mkdir(exist_ok=True)  # not its parents: a disk may not be mounted
            self._opened = Source(self._data)
        return self._opened

    def _made(self, name: str) -> Folder:
        folder = self._root().folder("")
        for part in filter(None, name.split("/")):
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder.fd)
            try:
                folder = enter(folder, part, name)
            except OddFileError as error:
                raise UnplaceableError(f"{self._data / name}: {error.reason}") from error
        return folder


def of_target(do: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Do something where files go: what goes wrong there is not the fault of the file that is read."""
    try:
        return do(*args, **more)
    except OSError as error:
        if error.errno in _ALL_HINDERED:
            raise hindered(error) from error
        raise UnplaceableError(_told(error)) from error


def of_all(do: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Do something that no file can do without."""
    try:
        return do(*args, **more)
    except OSError as error:
        raise hindered(error) from error


def hindered(error: OSError) -> TargetError:
    """What is told of a fault that hinders all files."""
    return TargetError(_told(error))


def _told(error: OSError) -> str:
    return f"{error.filename or 'the experiment'}: {error.strerror or error}"
