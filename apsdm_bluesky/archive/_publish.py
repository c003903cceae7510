"""Members of a bundle as files in their places: whole, compared, and never over anything else."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError, FormatError
from apsdm_bluesky.model import BundleMember

from ._member import copy_member
from ._work import sha256_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP})


class InTheWayError(ApsdmError):
    """Something else stands where a file is to be put. It is never overwritten."""


class MemberDiffersError(Exception):
    """A member of the bundle has not the sha256 of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a member goes: the names `parts` under the trusted folder `base`, without any link."""

    base: Path
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """As one path."""
        return self.base.joinpath(*self.parts)


def recorded_place(member: BundleMember, roots: Sequence[Path]) -> Place:
    """Where the member was read from.

    Raises
    ------
    FormatError
        That is not a plain path under one of the raw folders `roots`, so nothing is written there.
    """
    parts = _plain(member.source.removeprefix("/")) if member.source.startswith("/") else None
    for root in (root.resolve() for root in roots):
        depth = len(root.parts) - 1
        if parts is not None and len(parts) > depth and parts[:depth] == root.parts[1:]:
            return Place(base=root, parts=parts[depth:])
    allowed = ", ".join(str(root) for root in roots)
    raise FormatError(
        f"{member.path!r} was at {member.source!r}, which is not under the raw data folders ({allowed}); "
        "restore it to a folder with --to"
    )


def named_place(member: BundleMember, folder: Path) -> Place:
    """The member's place under `folder` by its name in the bundle.

    Raises
    ------
    FormatError
        The name is absolute, or has a part that is empty, '.' or '..'.
    """
    parts = _plain(member.path)
    if parts is None:
        raise FormatError(f"the name {member.path!r} in the bundle is refused; it is no plain relative path")
    return Place(base=folder, parts=parts)


def publish(
    tar: Path, member: BundleMember, place: Place, part: str, progress: Callable[[int], None]
) -> bool:
    """Put a member in its place, or adopt a file of the same content; whether it was written.

    The name appears only with the whole content on the disk. `part` is the name of a file beside it, which is
    gone after any ending but the process' own.

    Raises
    ------
    InTheWayError
        The place, or a folder on the way to it, is taken by something else.
    MemberDiffersError, FormatError
        The bundle has not the content that the manifest tells.
    OSError
        It cannot be read or written (disk full).
    """
    name = place.parts[-1]
    with _named(place.path), _folder(place) as folder:
        try:
            if _stands(folder, member, place.path, progress):
                os.fsync(folder)  # a killed process may have given the name and no more
                return False
            _remove(part, folder)
            _write(tar, member, part, folder, progress)
            os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            _remove(part, folder)
        os.fsync(folder)
    return True


def remove_part(place: Place, part: str) -> None:
    """Remove what a killed process left of `publish`."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (place.path.parent / part).unlink()


def _plain(path: str) -> tuple[str, ...] | None:
    parts = tuple(path.split("/"))
    plain = "\0" not in path and not any(part in ("", ".", "..") for part in parts)
    return parts if plain else None


def _stands(folder: int, member: BundleMember, path: Path, progress: Callable[[int], None]) -> bool:
    """Whether the member's file stands there already."""
    try:
        fd = os.open(path.name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise InTheWayError(f"{path}: is a link or no plain file; move it away, then resume") from error
        raise
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise InTheWayError(f"{path}: is no plain file; move it away, then resume")
    with os.fdopen(fd, "rb") as file:
        if info.st_size != member.size or sha256_of(file, progress) != member.sha256:
            raise InTheWayError(
                f"{path}: has other content, which is never overwritten; move it away, then resume"
            )
    return True


def _write(tar: Path, member: BundleMember, part: str, folder: int, progress: Callable[[int], None]) -> None:
    with os.fdopen(os.open(part, _NEW, 0o644, dir_fd=folder), "wb") as file:
        found = copy_member(tar, member, file, progress)
        if found != member.sha256:
            raise MemberDiffersError(f"{member.path!r} has sha256 {found}, not {member.sha256}")
        file.flush()
        os.utime(file.fileno(), ns=(member.mtime_ns, member.mtime_ns))
        os.fsync(file.fileno())


def _remove(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _folder(place: Place) -> Iterator[int]:
    """The folder of a place, opened name by name so that no link is followed; made where it is missing."""
    make_folder(place.base)
    here = os.open(place.base, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for depth, name in enumerate(place.parts[:-1], 1):
            below = _enter(here, name, place.base.joinpath(*place.parts[:depth]))
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _enter(parent: int, name: str, path: Path) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            return os.open(name, _FOLDER, dir_fd=parent)
        with contextlib.suppress(FileExistsError):  # another reading was first
            os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise InTheWayError(f"{path}: is a link or no folder; move it away, then resume") from error
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Faults of names that are relative to an open folder, with the whole path."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
