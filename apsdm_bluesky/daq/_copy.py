"""One file, from the watched folder to the experiment's: read once, hashed on the way, put there whole."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ._content import Rule, rule_for, why_not_whole
from ._part import Part, of_target
from ._scan import Seen
from ._source import OddFileError, Source
from ._work import Last

_CHUNK = 1 << 22
_SMALL = 1 << 18
_LONGEST_NAME = 255


class IncompleteError(Exception):
    """Its content is not whole; it may become so."""


class NotTakenError(Exception):
    """The file was changed, shortened or moved while it was read; nothing of it was kept."""


class StoppedError(Exception):
    """The DAQ is to end, in the middle of a file; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was taken.

    Parameters
    ----------
    path
        Where it lies, relative to the experiment's data.
    was_there
        Whether the same content lay there already.
    remark
        What somebody may want to know of it.
    """

    size: int
    mtime_ns: int
    sha256: str | None
    path: str
    version: int
    was_there: bool
    remark: str = ""


class Copier:
    """Takes files, one at a time.

    Parameters
    ----------
    data
        The experiment's folder of data.
    incoming
        A folder on the same file system, for what is not whole yet; `name` is unique in it.
    hashes
        Whether the content is hashed.
    rules
        What must hold for files to be whole; see `rule_for`.
    should_stop
        Asked between parts of a large file.
    """

    def __init__(
        self,
        data: Path,
        incoming: Path,
        name: str,
        *,
        hashes: bool,
        rules: Mapping[str, Rule],
        should_stop: Callable[[], bool],
    ) -> None:
        self._data = f"{data}/"
        self._part = Part(data, incoming / f"{name}.part")
        self._hashes = hashes
        self._rules = rules
        self._should_stop = should_stop
        self._buffer = memoryview(bytearray(_CHUNK))

    def take(self, source: Source, seen: Seen, base: str, last: Last | None, *, forgive: bool) -> Copied:
        """Copy a file.

        Parameters
        ----------
        base
            Where its first version lies, absolute.
        last
            The last version that was taken for that place.
        forgive
            Whether it is taken even if its content is not whole.

        Raises
        ------
        IncompleteError, NotTakenError, UnplaceableError, TargetError, StoppedError
            See there.
        OSError, OddFileError
            It cannot be read.
        """
        fd = source.open(seen.name)
        try:
            info, remark = self._looked_at(fd, seen, forgive=forgive)
            part = self._part.open()
            try:
                digest = self._copy(fd, info.st_size, part)
                _check_unchanged(source, seen.name, fd, info)
                of_target(os.utime, part, ns=(info.st_mtime_ns, info.st_mtime_ns))
            finally:
                os.close(part)
            placed = self._part.put(base, last, info.st_size, digest)
        except BaseException:
            self._part.remove()  # on a disk that is full it would take what others need
            raise
        finally:
            os.close(fd)
        told = "; ".join(filter(None, (remark, placed.remark)))
        path = placed.path.removeprefix(self._data)
        return Copied(info.st_size, info.st_mtime_ns, digest, path, placed.version, placed.there, told)

    def take_in_place(
        self, source: Source, seen: Seen, base: str, last: Last | None, *, forgive: bool
    ) -> Copied:
        """Hash a file that stays where it is; its content is a version of its own. Raises as `take`."""
        fd = source.open(seen.name)
        try:
            info, remark = self._looked_at(fd, seen, forgive=forgive)
            digest = self._copy(fd, info.st_size, None) if self._hashes else None
            _check_unchanged(source, seen.name, fd, info)
        finally:
            os.close(fd)
        same = last is not None and digest is not None and digest == last.sha256
        version = 1 if last is None else last.version + (not same)
        return Copied(
            info.st_size, info.st_mtime_ns, digest, base.removeprefix(self._data), version, same, remark
        )

    def _looked_at(self, fd: int, seen: Seen, *, forgive: bool) -> tuple[os.stat_result, str]:
        """How it stands, and what is wrong with one that is taken all the same."""
        info = os.fstat(fd)
        if (info.st_size, info.st_mtime_ns, info.st_ino) != (seen.size, seen.mtime_ns, seen.ino):
            raise NotTakenError("it was changed again")
        wrong = why_not_whole(fd, info.st_size, rule_for(seen.name, self._rules))
        if wrong is not None and not forgive:
            raise IncompleteError(wrong)
        return info, "" if wrong is None else f"taken as it is, unchanged for long: {wrong}"

    def _copy(self, fd: int, size: int, part: int | None) -> str | None:
        hasher = hashlib.sha256() if self._hashes else None
        buffer = self._buffer if size > _SMALL else self._buffer[:_SMALL]
        done = 0
        while done < size:
            got = os.readv(fd, [buffer])
            if got == 0:
                raise NotTakenError(f"it shrank from {size} to {done} bytes while it was read")
            if part is not None:
                of_target(_write_all, part, buffer[:got])
            if hasher is not None:
                hasher.update(buffer[:got])
            done += got
            if done < size and self._should_stop():
                raise StoppedError
        if done > size:
            raise NotTakenError("it grew while it was read")
        return None if hasher is None else hasher.hexdigest()


def _check_unchanged(source: Source, name: str, fd: int, before: os.stat_result) -> None:
    after = os.fstat(fd)
    if after.st_size != before.st_size:
        raise NotTakenError(f"it was changed while it was read ({before.st_size} to {after.st_size} bytes)")
    _check_name(source, name, before)
    # A copy that keeps times sets the time of modification back: that of change tells of it.
    if (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
        raise NotTakenError("it was changed while it was read")


def _check_name(source: Source, name: str, before: os.stat_result) -> None:
    try:
        there = source.stat(name)
    except (OSError, OddFileError):
        raise NotTakenError("it was moved or removed while it was read") from None
    if (there.st_ino, there.st_dev) != (before.st_ino, before.st_dev):
        raise NotTakenError("another file took its name while it was read")


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
