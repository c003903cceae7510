"""A run's raw files on this side, beside what its manifests say of them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import BundleMember

from ._sources import member_name, walk
from ._tombstone import Tombstone, read_tombstone, remove_tombstone, tombstone_path, write_tombstone
from ._work import sha256_of

# What makes files an array. It goes first: without it nobody reads what is missing as zeros.
_METADATA = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs"})


class FileDiffersError(FormatError):
    """A file is not what the manifest says, or is in none: nothing of it may be removed."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when it was compared."""

    path: Path
    place: tuple[int, int, int, int]


class LocalFiles:
    """The raw files of one run: compared, marked by tombstones, removed; each may be done again.

    Parameters
    ----------
    places
        Its files and folders, each with the root it lies under.
    members
        What the manifests hold, by the name in the bundle.
    progress
        Gets the number of bytes read, chunk by chunk; what it raises ends the work.
    """

    def __init__(
        self,
        places: Sequence[tuple[Path, Path]],
        members: Mapping[str, BundleMember],
        progress: Callable[[int], None],
    ) -> None:
        self._places = places
        self._progress = progress
        self._members = {path: _under(member_name(path, root), members) for path, root in places}

    @property
    def count(self) -> int:
        """Files that the manifests hold, there or not."""
        return sum(len(members) for members in self._members.values())

    @property
    def bytes(self) -> int:
        """Of them all."""
        return sum(member.size for members in self._members.values() for member in members.values())

    def compare(self) -> list[_Seen]:
        """The files that are there: all of the manifests' but those that a tombstone stands for.

        Raises
        ------
        FileDiffersError
            A file differs, is missing or is in no manifest; the message names it.
        """
        return [seen for path, root in self._places for seen in self._compared(path, root)]

    def begun(self) -> bool:
        """Whether any file is gone where a tombstone stands."""
        return any(
            not os.path.lexists(self._path(name, root))
            for path, root in self._places
            if os.path.lexists(tombstone_path(path))
            for name in self._members[path]
        )

    def mark(self, tombstone: Tombstone) -> None:
        """Put a tombstone where there is none that can be read."""
        for path, _ in self._places:
            try:
                read_tombstone(tombstone_path(path))
            except FormatError:
                write_tombstone(path, tombstone)

    def unmark(self) -> None:
        """Take the tombstones away again: nothing was removed."""
        for path, _ in self._places:
            remove_tombstone(path)

    def remove(self, files: Sequence[_Seen]) -> None:
        """Remove what was compared, and the folders that are empty then.

        Raises
        ------
        FileDiffersError
            A file was changed since.
        OSError
            A file cannot be removed.
        """
        _remove([seen for seen in files if seen.path.name in _METADATA])
        _remove([seen for seen in files if seen.path.name not in _METADATA])
        for path, _ in self._places:
            _remove_folders(path)
        for folder in {path.parent for path, _ in self._places}:
            sync(folder)

    def _compared(self, path: Path, root: Path) -> Iterator[_Seen]:
        members = self._members[path]
        marked = os.path.lexists(tombstone_path(path))
        found = set()
        for file in walk(path) if os.path.lexists(path) else ():
            name = member_name(file, root)
            if name not in members:
                raise FileDiffersError(f"{file}: is in no bundle of the run; move it away, then ask again")
            found.add(name)
            yield self._same(file, members[name])
        missing = sorted(members.keys() - found)
        if missing and not marked:
            first = self._path(missing[0], root)
            raise FileDiffersError(f"{first}: is missing ({len(missing)} files); put it back, then ask again")

    def _same(self, file: Path, member: BundleMember) -> _Seen:
        info = file.lstat()
        like = (info.st_size, info.st_mtime_ns) == (member.size, member.mtime_ns)
        if not like and (info.st_size != member.size or self._sha256(file) != member.sha256):
            raise FileDiffersError(f"{file}: is not what was archived; put it back as it was, then ask again")
        return _Seen(file, _place(info))

    def _sha256(self, path: Path) -> str:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            return sha256_of(file, self._progress)

    @staticmethod
    def _path(name: str, root: Path) -> Path:
        return root / name.partition("/")[2]


def _under(name: str, members: Mapping[str, BundleMember]) -> dict[str, BundleMember]:
    """The members of that name, or in the folder of that name."""
    if name in members:  # a file: a run may have very many
        return {name: members[name]}
    return {key: member for key, member in members.items() if key == name or key.startswith(f"{name}/")}


def _place(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _remove(files: Sequence[_Seen]) -> None:
    """The folders are brought to the disk, too: the metadata are gone for good before the first chunk."""
    for seen in files:
        if _place(seen.path.lstat()) != seen.place:
            raise FileDiffersError(f"{seen.path}: was changed while its run was released; put it back")
        seen.path.unlink()
    for folder in {seen.path.parent for seen in files}:
        sync(folder)


def _remove_folders(path: Path) -> None:
    if not path.is_dir():
        return
    for name, _, _ in os.walk(path, topdown=False):
        folder = Path(name)
        if not any(folder.iterdir()):  # else: what came since is not ours
            folder.rmdir()
