"""One file, from the watched folder to the experiment's: read once, hashed on the way, put there whole."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from apsdm_bluesky.durable import sync_file_system

from ._content import Rule, rule_for, why_not_whole
from ._part import Incoming, Part
from ._scan import Seen
from ._source import OddFileError, Source
from ._target import Target, TargetError, UnplaceableError, of_all, of_target
from ._work import Last

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK = 1 << 22
_SMALL = 1 << 18
_FEW = 4  # files that are brought to the disk one by one; more of them all at once


class IncompleteError(Exception):
    """Its content is not whole; it may become so."""


class NotTakenError(Exception):
    """The file was changed, shortened or moved while it was read; nothing of it was kept."""


class StoppedError(Exception):
    """The DAQ is to end, in the middle of a file; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Order:
    """One file to be taken.

    Parameters
    ----------
    base
        Where its first version lies, absolute.
    last
        The last version that was taken for that place.
    forgive
        Whether it is taken even if its content is not whole: nobody has changed it for very long.
    """

    seen: Seen
    base: str
    last: Last | None
    forgive: bool


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


Answer = Copied | Exception
"""What came of it: it was taken, or why not."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A file whose content lies in a part."""

    part: Part
    order: Order
    size: int
    mtime_ns: int
    sha256: str | None
    remark: str


class Copier:
    """Takes files, some at a time: they get their names when all of them are on the disk.

    Parameters
    ----------
    data
        The experiment's folder of data.
    incoming
        A folder on the same file system, for what is not whole yet; `name` is unique in it.
    in_place
        Whether files stay where they are, below the data.
    hashes
        Whether the content is hashed.
    rules
        What must hold for files to be whole; see `rule_for`.
    should_stop
        Asked between files, and between parts of a large one.
    """

    def __init__(
        self,
        data: Path,
        incoming: Path,
        name: str,
        *,
        in_place: bool,
        hashes: bool,
        rules: Mapping[str, Rule],
        should_stop: Callable[[], bool],
    ) -> None:
        self._data = f"{data}/"
        self._target = Target(data)
        self._incoming = Incoming(incoming)
        self._name = name
        self._in_place = in_place
        self._hashes = hashes
        self._rules = rules
        self._should_stop = should_stop
        self._buffer = memoryview(bytearray(_CHUNK))

    def take(self, source: Source, orders: Sequence[Order]) -> list[Answer]:
        """What came of each file: it was taken, or one of the errors of this module and of `_target`.

        Or `OSError`, `OddFileError`: it cannot be read.
        """
        if self._in_place:
            return [self._tried(self._take_in_place, source, order) for order in orders]
        read = [self._tried(self._read, source, order, number) for number, order in enumerate(orders)]
        parts = [each.part for each in read if isinstance(each, _Read)]
        fault = self._sync(parts)
        return [self._placed(each, fault) if isinstance(each, _Read) else each for each in read]

    def close(self) -> None:
        """What is open is closed."""
        self._target.close()
        self._incoming.close()

    def _tried(self, do: Callable[..., T], *args: Any) -> T | Exception:
        return StoppedError() if self._should_stop() else _guarded(do, *args)

    def _read(self, source: Source, order: Order, number: int) -> _Read:
        seen = order.seen
        fd = source.open(seen.name)
        try:
            info, remark = self._looked_at(fd, seen, forgive=order.forgive)
            part = self._incoming.new(f"{self._name}-{number}.part", info.st_mode)
            try:
                digest = self._copy(fd, info.st_size, part.fd)
                _check_unchanged(source, seen.name, fd, info)
                of_target(os.utime, part.fd, ns=(info.st_mtime_ns, info.st_mtime_ns))
                if number >= _FEW:  # so many are not held open
                    part.close()
            except BaseException:
                part.remove()  # on a disk that is full it would take what others need
                raise
        finally:
            os.close(fd)
        return _Read(part, order, info.st_size, info.st_mtime_ns, digest, remark)

    def _sync(self, parts: Sequence[Part]) -> Exception | None:
        """Bring parts to the disk; what hindered it. A system tells a fault once: nothing is tried again."""
        try:
            if all(part.is_open for part in parts):
                for part in parts:
                    part.sync()
            else:
                of_all(sync_file_system, Path(self._data))
        except TargetError as error:
            return error
        return None

    def _placed(self, read: _Read, fault: Exception | None) -> Answer:
        """Under its name, where all parts are on the disk."""
        answer = _guarded(self._place, read) if fault is None else fault
        if isinstance(answer, Exception):
            read.part.remove()
        return answer

    def _place(self, read: _Read) -> Copied:
        order = read.order
        read.part.close()
        base = order.base.removeprefix(self._data)
        placed = read.part.put(self._target, base, order.last, read.size, read.sha256)
        told = "; ".join(filter(None, (read.remark, placed.remark)))
        return Copied(read.size, read.mtime_ns, read.sha256, placed.path, placed.version, placed.there, told)

    def _take_in_place(self, source: Source, order: Order) -> Copied:
        """Hash a file that stays where it is; its content is a version of its own."""
        seen, last = order.seen, order.last
        fd = source.open(seen.name)
        try:
            info, remark = self._looked_at(fd, seen, forgive=order.forgive)
            digest = self._copy(fd, info.st_size, None) if self._hashes else None
            _check_unchanged(source, seen.name, fd, info)
        finally:
            os.close(fd)
        same = last is not None and digest is not None and digest == last.sha256
        version = 1 if last is None else last.version + (not same)
        path = order.base.removeprefix(self._data)
        return Copied(info.st_size, info.st_mtime_ns, digest, path, version, same, remark)

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


_EXPECTED: tuple[type[Exception], ...] = (
    OSError,
    OddFileError,
    IncompleteError,
    NotTakenError,
    UnplaceableError,
    TargetError,
    StoppedError,
)


def _guarded(do: Callable[..., T], *args: Any) -> T | Exception:
    try:
        return do(*args)
    except _EXPECTED as error:
        return error
    except Exception as error:  # a defect of ours: the others go on, and it is told of this one
        log.exception("a file cannot be taken")
        return UnplaceableError(f"a defect: {type(error).__name__}: {error}")


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
