"""A file that is not whole yet, and the name that it gets when it is: never another one's."""

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from ._source import Folder
from ._target import Target, UnplaceableError, hindered, of_all, of_target
from ._work import Last

_CHUNK = 1 << 22
_LONGEST_NAME = 255
_PART = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a part has gone, relative to the data; `there`: the same content lay there already."""

    path: str
    version: int
    there: bool
    remark: str = ""


class Incoming:
    """The folder of parts. It is made where there is none, but not the one that it lies in.

    Every method raises `TargetError` or `UnplaceableError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: Folder | None = None

    def new(self, name: str, rights: int) -> "Part":
        """An empty part of that name; one process at a time has it. What was left of another one goes.

        Parameters
        ----------
        rights
            The mode of the file that is copied: nobody else gets more.
        """
        try:
            return Part(self._at(), name, rights)
        except FileNotFoundError:  # the folder was removed
            self._folder = None
            return of_all(Part, self._at(), name, rights)
        except OSError as error:
            raise hindered(error) from error

    def close(self) -> None:
        """What is open is closed, so that its disk can be unmounted."""
        self._folder = None

    def _at(self) -> Folder:
        if self._folder is None:
            of_all(self._path.mkdir, exist_ok=True)
            self._folder = Folder(of_all(os.open, self._path, _FOLDER))
        return self._folder


class Part:
    """A file of its own: that nobody has under another name is what `O_EXCL` says."""

    def __init__(self, folder: Folder, name: str, rights: int) -> None:
        self._folder = folder
        self._name = name
        mode = (rights & 0o666) | 0o600
        try:
            self.fd = os.open(name, _PART, mode, dir_fd=folder.fd)
        except FileExistsError:  # what was left, which may be another file's second name: never written into
            os.unlink(name, dir_fd=folder.fd)
            self.fd = os.open(name, _PART, mode, dir_fd=folder.fd)

    @property
    def is_open(self) -> bool:
        """Whether it can be written and synced by itself."""
        return self.fd >= 0

    def close(self) -> None:
        """Write no more; a file server may only now tell that its disk is full."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            of_target(os.close, fd)

    def sync(self) -> None:
        """Bring it to the disk."""
        of_all(os.fsync, self.fd)

    def remove(self) -> None:
        """Leave nothing of it, as far as that is possible."""
        with suppress(OSError, UnplaceableError):
            self.close()
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder.fd)

    def put(self, target: Target, path: str, last: Last | None, size: int, digest: str | None) -> Placed:
        """Give it its name: the last version's where that holds the same, else the next one that is free.

        Parameters
        ----------
        path
            The first version's, relative to the data.
        """
        if last is not None and (digest is None or digest == last.sha256):
            same = of_target(self._as_last, target, last, size, digest)
            if same is not None:
                return same
        return of_target(self._place, target, path, 1 if last is None else last.version + 1, size, digest)

    def _as_last(self, target: Target, last: Last, size: int, digest: str | None) -> Placed | None:
        """The last version, if it holds the same; where it is no longer there it is put back."""
        folder, name = _split(target, last.path)
        try:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            if digest is None:
                return None
            self._link(folder, name)
            return Placed(
                last.path, last.version, True, "had been removed from the experiment, and was put back"
            )
        if info.st_size != size or not stat.S_ISREG(info.st_mode):
            return None
        if digest is None and not self._is_same(folder, name, size, None):
            return None
        self.remove()
        return Placed(last.path, last.version, True)

    def _place(self, target: Target, path: str, first: int, size: int, digest: str | None) -> Placed:
        for version in count(first):
            of_version = versioned(path, version)
            folder, name = _split(target, of_version)
            try:
                self._link(folder, name)
            except FileExistsError:
                if not self._is_same(folder, name, size, digest):
                    continue
                self.remove()
                return Placed(of_version, version, True)
            return Placed(of_version, version, False)
        raise UnplaceableError(f"{path}: has no free name")  # `count` does not end

    def _link(self, folder: Folder, name: str) -> None:
        os.link(self._name, name, src_dir_fd=self._folder.fd, dst_dir_fd=folder.fd)
        os.unlink(self._name, dir_fd=self._folder.fd)

    def _is_same(self, folder: Folder, name: str, size: int, digest: str | None) -> bool:
        """Whether a file holds what the part holds."""
        info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            return False
        with (
            os.fdopen(os.open(name, _READ, dir_fd=folder.fd), "rb") as one,
            os.fdopen(os.open(self._name, _READ, dir_fd=self._folder.fd), "rb") as other,
        ):
            if digest is not None:
                return hashlib.file_digest(one, "sha256").hexdigest() == digest
            return all(one.read(_CHUNK) == piece for piece in iter(lambda: other.read(_CHUNK), b""))


def versioned(base: str, version: int) -> str:
    """Where a version lies: `scan.h5`, then `scan.v2.h5`. A name that gets too long loses its middle."""
    if version == 1:
        return base
    path = PurePosixPath(base)
    end = f".v{version}{path.suffix}"
    room = _LONGEST_NAME - len(os.fsencode(end))
    stem = os.fsencode(path.stem)[: max(room, 1)].decode(errors="ignore")
    return str(path.with_name(stem + end))


def _split(target: Target, path: str) -> tuple[Folder, str]:
    folder, _, name = path.rpartition("/")
    return target.folder(folder), name
