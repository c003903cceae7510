"""One file, from the watched folder to the experiment's: read once, hashed on the way, put there whole."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from ._scan import Seen
from ._source import OddFileError, Source
from ._work import Last

_CHUNK = 1 << 22
_SMALL = 1 << 18
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
    }
)


class NotTakenError(Exception):
    """The file was changed, shortened or moved while it was read; nothing of it was kept."""


class TargetError(Exception):
    """The experiment's folder cannot be written: no file can be taken for now."""


class UnplaceableError(Exception):
    """The file itself cannot be put where it belongs; others can."""


class StoppedError(Exception):
    """The DAQ is to end, in the middle of a file; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was taken: where it lies, relative to the data, and whether it lay there already."""

    size: int
    mtime_ns: int
    sha256: str | None
    path: str
    version: int
    was_there: bool


class Copier:
    """Takes files, one at a time. Used by one thread.

    Parameters
    ----------
    data
        The experiment's folder of data.
    incoming
        A folder on the same file system, for what is not whole yet.
    hashes
        Whether the content is hashed.
    should_stop
        Asked between parts of a large file.
    """

    def __init__(
        self, data: Path, incoming: Path, name: str, *, hashes: bool, should_stop: Callable[[], bool]
    ) -> None:
        self._data = f"{data}/"
        self._part = incoming / f"{name}.part"
        self._hashes = hashes
        self._should_stop = should_stop
        self._buffer = memoryview(bytearray(_CHUNK))
        self._folders: set[Path] = set()

    def take(self, source: Source, seen: Seen, base: str, last: Last | None) -> Copied:
        """Copy a file.

        Parameters
        ----------
        base
            Where its first version lies, absolute.
        last
            The last version that was taken for that place.

        Raises
        ------
        NotTakenError, UnplaceableError, TargetError, StoppedError
            See there.
        OSError
            It cannot be read.
        """
        fd = source.open(seen.name)
        try:
            info = os.fstat(fd)
            with self._new_part() as part:
                digest = self._copy(fd, info.st_size, part)
                _check_unchanged(source, seen.name, fd, info)
                with _of_target():
                    os.utime(part, ns=(info.st_mtime_ns, info.st_mtime_ns))
        finally:
            os.close(fd)
        if last is not None and digest is not None and digest == last.sha256:
            return Copied(info.st_size, info.st_mtime_ns, digest, last.path, last.version, True)
        return self._place(base, 1 if last is None else last.version + 1, info, digest)

    def take_in_place(self, source: Source, seen: Seen, base: str, last: Last | None) -> Copied:
        """Hash a file that stays where it is; raises as `take`. Its content is one version, the last."""
        fd = source.open(seen.name)
        try:
            info = os.fstat(fd)
            digest = self._copy(fd, info.st_size, None) if self._hashes else None
            _check_unchanged(source, seen.name, fd, info)
        finally:
            os.close(fd)
        same = last is not None and digest is not None and digest == last.sha256
        version = 1 if last is None else last.version + (not same)
        return Copied(info.st_size, info.st_mtime_ns, digest, base.removeprefix(self._data), version, same)

    def _copy(self, fd: int, size: int, part: int | None) -> str | None:
        hasher = hashlib.sha256() if self._hashes else None
        done = 0
        buffer = self._buffer if size > _SMALL else self._buffer[:_SMALL]
        while done < size:
            got = os.readv(fd, [buffer])
            if got == 0:
                raise NotTakenError(f"it shrank from {size} to {done} bytes while it was read")
            if part is not None:
                _write_all(part, buffer[:got])
            if hasher is not None:
                hasher.update(buffer[:got])
            done += got
            if done < size and self._should_stop():
                raise StoppedError
        if done > size:
            raise NotTakenError("it grew while it was read")
        return None if hasher is None else hasher.hexdigest()

    @contextlib.contextmanager
    def _new_part(self) -> Iterator[int]:
        with _of_target():
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            part = os.open(self._part, flags, 0o666)
        try:
            yield part
        finally:
            os.close(part)

    def _place(self, base: str, version: int, info: os.stat_result, digest: str | None) -> Copied:
        """Give it its name: the first version's, or the next one that is free or holds the same."""
        with _of_target():
            self._make_folder(Path(base).parent)
            for number in count(version):
                path = versioned(base, number)
                try:
                    os.link(self._part, path)
                    there = False
                except FileExistsError:
                    there = self._is_same(path, info.st_size, digest)
                    if not there:
                        continue
                self._part.unlink()
                return Copied(
                    info.st_size, info.st_mtime_ns, digest, path.removeprefix(self._data), number, there
                )
        raise TargetError(f"{base}: has no free name")  # `count` does not end

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

    def _is_same(self, path: str, size: int, digest: str | None) -> bool:
        """Whether a file holds what the part holds."""
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            return False
        with Path(path).open("rb") as one, self._part.open("rb") as other:
            if digest is not None:
                return hashlib.file_digest(one, "sha256").hexdigest() == digest
            return all(one.read(_CHUNK) == part for part in iter(lambda: other.read(_CHUNK), b""))


def versioned(base: str, version: int) -> str:
    """Where a version lies: `scan.h5`, then `scan.v2.h5`."""
    if version == 1:
        return base
    path = PurePosixPath(base)
    return str(path.with_name(f"{path.stem}.v{version}{path.suffix}"))


def _check_unchanged(source: Source, name: str, fd: int, before: os.stat_result) -> None:
    after = os.fstat(fd)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise NotTakenError(f"it was changed while it was read ({before.st_size} to {after.st_size} bytes)")
    try:
        there = source.stat(name)
    except (OSError, OddFileError):
        raise NotTakenError("it was moved or removed while it was read") from None
    if (there.st_ino, there.st_dev) != (before.st_ino, before.st_dev):
        raise NotTakenError("another file took its name while it was read")


def _write_all(fd: int, data: memoryview) -> None:
    with _of_target():
        while data:
            data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _of_target() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = TargetError if error.errno in _ALL_HINDERED else UnplaceableError
        raise kind(f"{error.filename or 'the experiment'}: {error.strerror or error}") from error
