"""What stands in the place of released raw data: a small file beside them that says where they are.

It is there before the first byte is removed, and until the last one is back. Whoever finds it must not read
the data: a Zarr array of which files are missing reads as zeros.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError

SUFFIX = ".released.json"
_SCHEMA = 1
_LARGEST = 2**16  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Raw data that were released.

    Parameters
    ----------
    run
        The run's uid.
    bundles
        The uids of the bundles that hold it.
    files, bytes
        What was removed, or is being removed.
    released
        When the removal began [s since the Unix epoch].
    restore_s
        How long a restore takes, estimated when it was released [s]; None where nothing is known.
    """

    run: str
    bundles: tuple[str, ...]
    files: int
    bytes: int
    released: float
    restore_s: float | None = None

    @property
    def advice(self) -> str:
        """What to tell somebody who wants the data."""
        takes = (
            "a restore takes a time that is not known" if self.restore_s is None else "restore takes about"
        )
        takes += "" if self.restore_s is None else f" {duration(self.restore_s)}"
        return f"run {self.run} is on tape, {takes}: apsdm archive restore {self.run}"


def duration(seconds: float) -> str:
    """A time in words, as coarse as an estimate is."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def tombstone_path(asset: Path) -> Path:
    """Where the tombstone of a file or folder stands: beside it."""
    return asset.with_name(asset.name + SUFFIX)


def is_tombstone(path: Path) -> bool:
    """Whether a file has the name of a tombstone, finished or not."""
    return path.name.removesuffix(".part").endswith(SUFFIX)


def covering(path: Path) -> Iterator[Path]:
    """The places of the tombstones that may stand for `path`: its own, and those of the folders it is in."""
    return (tombstone_path(place) for place in (path, *path.parents) if place.name)


def find_tombstone(path: Path) -> Path | None:
    """The tombstone that stands for `path` or for a folder that it is in; None where there is none.

    Readers ask before and after each reading: it takes some microseconds a folder.
    """
    place = os.fspath(path)
    while (folder := os.path.dirname(place)) != place:  # noqa: PTH120 - pathlib takes four times as long
        if os.path.lexists(place + SUFFIX):
            return Path(place + SUFFIX)
        place = folder
    return None


def write_tombstone(asset: Path, tombstone: Tombstone) -> None:
    """Put the tombstone beside `asset`, durably.

    Raises
    ------
    OSError
        It cannot be written.
    """
    place = tombstone_path(asset)
    part = _part(place)
    part.unlink(missing_ok=True)
    try:
        part.write_text(json.dumps({"schema": _SCHEMA, **asdict(tombstone)}) + "\n", encoding="utf-8")
        sync(part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    sync(place.parent)


def read_tombstone(place: Path) -> Tombstone:
    """The tombstone at `place`.

    Raises
    ------
    FormatError
        It is none, or cannot be read.
    """
    try:
        fields = json.loads(_content(place))
        return _checked(fields)
    except OSError as error:
        raise FormatError(f"{place}: cannot be read ({error.strerror}); give access to it") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(
            f"{place}: is no tombstone of released data ({type(error).__name__}); "
            "find the run with 'apsdm archive ls' and restore it, or remove this file if nothing was released"
        ) from error


def remove_tombstone(asset: Path) -> None:
    """Take the tombstone beside `asset` away, durably, when all is back or nothing was removed.

    Raises
    ------
    OSError
        It cannot be removed.
    """
    place = tombstone_path(asset)
    if not place.parent.is_dir():
        return
    for path in (_part(place), place):
        path.unlink(missing_ok=True)
    sync(place.parent)


def _part(place: Path) -> Path:
    return place.with_name(f"{place.name}.part")


def _content(place: Path) -> bytes:
    """Of a plain file that is not too large: a pipe, or what anybody may have put there, holds up nobody."""
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LARGEST:
            raise ValueError("no small plain file")
        return file.read(_LARGEST)


def _checked(fields: dict[str, Any]) -> Tombstone:
    restore_s = fields["restore_s"]
    if fields["schema"] != _SCHEMA or not isinstance(fields["run"], str) or not fields["run"].isprintable():
        raise ValueError("another schema")
    return Tombstone(
        run=fields["run"],
        bundles=tuple(str(uid) for uid in fields["bundles"]),
        files=int(fields["files"]),
        bytes=int(fields["bytes"]),
        released=float(fields["released"]),
        restore_s=None if restore_s is None else float(restore_s),
    )
