"""The two ends of a Globus transfer: their paths, what stands there, and how files get their final names."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import FormatError

from ._copy import ContentError, publish, same_content
from ._globus_record import GlobusRecord
from ._globus_service import ExistsError, GlobusService, MissingError
from ._paths import plain_parts
from ._protocol import Direction, TransferItem, TransferRequest

_TAG = 16  # hexadecimal digits


class UnfitError(Exception):
    """What a task delivered is not what it should be; another one mends it."""


class Ends:
    """The local folder and the destination of one `Globus`."""

    def __init__(self, config: GlobusConfig, service: GlobusService) -> None:
        self._config = config
        self._service = service
        self._base = config.base_path.rstrip("/")

    def remote(self, path: str) -> str:
        """The path on the destination's collection. `FormatError` where it is not plain."""
        return "/".join((self._base, *plain_parts(path)))

    def local(self, path: Path) -> str:
        """The path on the local collection. `FormatError` where it does not lie under its root."""
        root = self._config.local_root.resolve()
        place = path.parent.resolve() / path.name
        if not path.name or not place.is_relative_to(root):
            raise FormatError(f"{path}: does not lie under archive.globus.local_root, {root}")
        return f"/{place.relative_to(root).as_posix()}"

    def local_part(self, request: TransferRequest, number: int) -> Path:
        """Where a file that comes from the destination goes first."""
        target = request.items[number].local
        return target.with_name(f".{request.submission_id}-{number}.part")

    def remote_size(self, path: str) -> int | None:
        """Size of a file at the destination [bytes]; None where there is none."""
        return self._service.stat(self._config.collection, self.remote(path))

    def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """Names in a folder that are not hidden, with the sizes of files [bytes]; None of a folder."""
        place = self.remote(folder) if folder else self._base or "/"
        for name, size in self._service.list_folder(self._config.collection, place):
            if not name.startswith("."):  # a collection may not know how to leave them out
                yield name, size

    def check(self, request: TransferRequest) -> None:
        """Raise `FormatError` where a path is refused."""
        if not request.items:
            raise FormatError(f"submission {request.submission_id}: has no files; give at least one")
        for item in request.items:
            self.remote(item.remote)
            self.local(item.local)

    def look(self, request: TransferRequest) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of what is to be moved, and the items whose final names are taken by files of the same size.

        Raises
        ------
        ContentError
            A file is missing, or its final name is taken by another file.
        """
        if request.direction is Direction.FETCH:
            return tuple(self._fetched_size(item) for item in request.items), ()
        sizes = tuple(_local_size(item.local) for item in request.items)
        found = [self.remote_size(item.remote) for item in request.items]
        for item, size, there in zip(request.items, sizes, found, strict=True):
            if there not in (None, size):
                raise ContentError(_taken(item.remote, item.local, f"other size ({there} bytes, not {size})"))
        return sizes, tuple(number for number, there in enumerate(found) if there is not None)

    def parts(self, request: TransferRequest) -> tuple[str, ...]:
        """Where each file goes first."""
        if request.direction is Direction.FETCH:
            return tuple(str(self.local_part(request, number)) for number in range(len(request.items)))
        return tuple(f"{self.remote(item.remote)}.{self._tag(item)}.part" for item in request.items)

    def compare(self, record: GlobusRecord) -> None:
        """Raise `ContentError` where what was fetched for comparison differs from what is to be sent."""
        for number in record.standing:
            item, part = record.request.items[number], self.local_part(record.request, number)
            _local_size(item.local)
            if not _is_plain(part):
                raise UnfitError(f"{part}: Globus delivered nothing for the comparison; fetched again")
            if not same_content(item.local, part):
                raise ContentError(_taken(item.remote, item.local, "other content"))

    def see_parts(self, record: GlobusRecord) -> None:
        """Raise `UnfitError` unless every part is at the destination in full."""
        for number in record.moved:
            name, size = record.request.items[number].remote, record.sizes[number]
            found = self._part_size(record, number)
            if found != size:
                reason = f"Globus says SUCCEEDED, but {found or 0} of {size} bytes came"
                raise UnfitError(f"{name}: {reason}; sent again")

    def publish_remote(self, record: GlobusRecord) -> None:
        """Rename the parts at the destination; a missing one was renamed by a process that died then."""
        for number in record.moved:
            item, size = record.request.items[number], record.sizes[number]
            if self._part_size(record, number) is not None:
                self._rename(item, record.parts[number], size)
            elif self.remote_size(item.remote) != size:
                raise UnfitError(f"{item.remote}: its part is gone; sent again")

    def publish_local(self, record: GlobusRecord) -> None:
        """Give the parts their names on this machine."""
        for number, size in enumerate(record.sizes):
            item, part = record.request.items[number], Path(record.parts[number])
            if not _is_plain(part):
                if _is_plain(item.local):  # published by a process that died then
                    continue
                raise UnfitError(f"{part}: Globus says SUCCEEDED, but it is not there; fetched again")
            if part.stat().st_size != size:
                raise UnfitError(f"{part}: Globus says SUCCEEDED, but it has not {size} bytes; fetched again")
            _publish_or_adopt(part, item.local)

    def remove_local_parts(self, record: GlobusRecord) -> None:
        """Remove what was fetched and is not needed."""
        for number in range(len(record.request.items)):
            self.local_part(record.request, number).unlink(missing_ok=True)

    def _part_size(self, record: GlobusRecord, number: int) -> int | None:
        return self._service.stat(self._config.collection, record.parts[number])

    def _rename(self, item: TransferItem, part: str, size: int) -> None:
        taken = f"{item.remote}: came to exist meanwhile; compared in the next attempt"
        if self.remote_size(item.remote) is not None:  # whatever the collection does about it by itself
            raise UnfitError(taken)
        try:
            self._service.rename(self._config.collection, part, self.remote(item.remote))
        except ExistsError as error:
            raise UnfitError(taken) from error
        except MissingError as error:
            if self.remote_size(item.remote) != size:
                raise UnfitError(f"{item.remote}: its part is gone; sent again") from error

    def _tag(self, item: TransferItem) -> str:
        """Of this very content: no other state of the source, and no other machine, writes this part."""
        info = item.local.stat()
        source = (
            self._config.local_collection,
            self.local(item.local),
            info.st_size,
            info.st_mtime_ns,
            item.md5,
        )
        return hashlib.sha256(repr(source).encode()).hexdigest()[:_TAG]

    def _fetched_size(self, item: TransferItem) -> int:
        size = self.remote_size(item.remote)
        if size is None:
            raise ContentError(f"{item.remote}: is not at the destination; put it back, then retry")
        if os.path.lexists(item.local) and (not _is_plain(item.local) or item.local.stat().st_size != size):
            raise ContentError(_taken(str(item.local), item.remote, "other content"))
        make_folder(item.local.parent)
        return size


def _publish_or_adopt(part: Path, target: Path) -> None:
    """The part's final name, unless the same content has it."""
    sync(part)
    try:
        publish(part, target)
    except FileExistsError:
        if not _is_plain(target) or not same_content(part, target):
            raise ContentError(_taken(str(target), part.name, "other content")) from None
        part.unlink()


def _local_size(path: Path) -> int:
    if not _is_plain(path):
        raise ContentError(f"{path}: is not there as a plain file; put it back, then retry")
    return path.stat().st_size


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _taken(name: str, source: Path | str, how: str) -> str:
    return f"{name}: exists with {how} than {source} and is never overwritten; move it away, then retry"
