"""A watched folder, opened once: no link below it is ever followed, whatever is swapped in meanwhile."""

import errno
import os
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from apsdm_bluesky.errors import ApsdmError

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KEPT = 16
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class OddFileError(ApsdmError):
    """What is not taken: a link, or no regular file.

    Parameters
    ----------
    name
        Its path in the watched folder.
    reason
        What it is, for a person.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["OddFileError"], tuple[str, str]]:
        return OddFileError, (self.name, self.reason)  # it comes from another process


class Folder:
    """An open folder; closed when nobody holds it any more, so that no thread closes it for another."""

    __slots__ = ("fd", "place")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        info = os.fstat(fd)
        self.place = info.st_dev, info.st_ino

    def __del__(self) -> None:
        os.close(self.fd)


class Source:
    """A folder whose files are taken, or one file. Threads may share it.

    The folder is pinned: a folder that is put in its place later is not looked into (see `in_place`).

    Parameters
    ----------
    path
        Absolute. It may lead through links, as somebody named it; of a link to a file, that file is taken.

    Raises
    ------
    OSError
        It is not there, or cannot be opened.
    OddFileError
        It is neither a folder nor a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        real = Path(os.path.realpath(path, strict=True))
        mode = real.stat().st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise OddFileError(str(path), f"is {kind_of(mode)}; give a folder or a file")
        self.single = real.name if stat.S_ISREG(mode) else None
        """The only file that is taken; None of a folder."""
        self._root: Folder | None = Folder(os.open(real.parent if self.single else real, _ROOT))
        # Asked of what is open: a link may have been turned since its path was resolved.
        self._real = Path(f"/proc/self/fd/{self._root.fd}").readlink()
        self._kept: OrderedDict[str, Folder] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def real(self) -> Path:
        """The path of what was opened, without links, as it was then."""
        return self._real / self.single if self.single else self._real

    @property
    def root(self) -> Folder:
        """The folder itself; of a single file the one that it lies in."""
        if self._root is None:
            raise OSError(errno.EBADF, "the folder was closed", str(self.path))
        return self._root

    def in_place(self) -> bool:
        """Whether the real path still leads to the folder that was opened, not to another or to none."""
        try:
            info = self._real.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (info.st_dev, info.st_ino) == self.root.place

    def folder(self, name: str) -> Folder:
        """A folder below, '' for the folder itself; held open as long as the caller holds it.

        Raises
        ------
        OSError
            It is not there, no folder, or cannot be opened.
        OddFileError
            A link lies on the way.
        """
        if not name:
            return self.root
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or not self._leads_to(name, kept):
            kept = self._descend(name)
        self._keep(name, kept)
        return kept

    def open(self, name: str) -> int:
        """A file descriptor for reading a regular file below; the caller closes it.

        Parameters
        ----------
        name
            Its path in the folder.

        Raises
        ------
        OSError
            It is not there, or cannot be read.
        OddFileError
            It is a link or no regular file, or a link lies on the way.
        """
        folder, last = self._parent(name)
        try:
            fd = os.open(last, _FILE, dir_fd=folder.fd)
        except OSError:
            # Links and sockets cannot be opened so; else the fault is told as it is.
            _refuse_odd(name, os.stat(last, dir_fd=folder.fd, follow_symlinks=False), folder, last)
            raise
        try:
            _refuse_odd(name, os.fstat(fd), folder, last)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def stat(self, name: str) -> os.stat_result:
        """What the file system says of a regular file below; raises as `open` does."""
        folder, last = self._parent(name)
        info = os.stat(last, dir_fd=folder.fd, follow_symlinks=False)
        _refuse_odd(name, info, folder, last)
        return info

    def close(self) -> None:
        """Nothing can be opened any more; what is open stays so."""
        with self._lock:
            self._root = None
            self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parent(self, name: str) -> tuple[Folder, str]:
        if self.single is not None and name != self.single:
            raise FileNotFoundError(errno.ENOENT, "not the file that was named", name)
        parent, _, last = name.rpartition("/")
        if last in ("", ".", "..") or name.startswith("/"):
            raise OddFileError(name, "no path of a file below the folder")
        return self.folder(parent), last

    def _leads_to(self, name: str, kept: Folder) -> bool:
        # A kept folder may have been moved away, and another be in its place by now.
        try:
            info = os.stat(name, dir_fd=self.root.fd, follow_symlinks=False)
        except OSError:
            return False
        return (info.st_dev, info.st_ino) == kept.place

    def _descend(self, name: str) -> Folder:
        folder = self.root
        for part in name.split("/"):
            if part in ("", ".", ".."):
                raise OddFileError(name, "no path of a folder below the folder")
            folder = enter(folder, part, name)
        return folder

    def _keep(self, name: str, folder: Folder) -> None:
        with self._lock:
            if self._root is None:
                return
            self._kept[name] = folder
            self._kept.move_to_end(name)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def enter(folder: Folder, part: str, name: str) -> Folder:
    """The folder `part` in an open one, without following a link.

    Parameters
    ----------
    name
        Its path in the watched folder, for errors.

    Raises
    ------
    OSError
        It is not there, no folder, or cannot be opened.
    OddFileError
        It is a link.
    """
    try:
        return Folder(os.open(part, _FOLDER, dir_fd=folder.fd))
    except NotADirectoryError:
        info = os.stat(part, dir_fd=folder.fd, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            raise OddFileError(name, link_text(folder, part)) from None
        raise


def kind_of(mode: int) -> str:
    """What a file is that is no regular one, for a person."""
    return next((text for holds, text in _KINDS if holds(mode)), "no regular file")


def link_text(folder: Folder, part: str) -> str:
    """What is told of a link in an open folder: where it leads to."""
    try:
        target = os.readlink(part, dir_fd=folder.fd)
    except OSError:
        return "a link, which is not followed"
    shown = os.fsencode(target).decode(errors="backslashreplace")
    return f"a link to {shown}, which is not followed"


def _refuse_odd(name: str, info: os.stat_result, folder: Folder, part: str) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise OddFileError(name, link_text(folder, part))
    if not stat.S_ISREG(info.st_mode):
        raise OddFileError(name, kind_of(info.st_mode))
