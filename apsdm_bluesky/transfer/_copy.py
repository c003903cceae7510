"""Copy one file so that its name appears only with its whole content on the disk."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import ApsdmError

_CHUNK = 4 * 2**20


class ContentError(ApsdmError):
    """The content at one end is not what it must be; a person must look."""


def copy_file(
    source: Path, target: Path, part: Path, *, md5: str | None, progress: Callable[[int], None]
) -> None:
    """Copy `source` by way of `part` to `target`, or adopt a `target` of the same content.

    `progress` gets the number of bytes copied, chunk by chunk; what it raises ends the copy. `part` is gone
    after any ending but the process' own.

    Raises
    ------
    ContentError
        `target` exists with other content, or `source` has not the MD5 given.
    OSError
        A file cannot be read or written.
    """
    try:
        if os.path.lexists(target):
            _adopt(source, target, progress)
            return
        make_folder(target.parent)
        digest = _write_part(source, part, progress)
        if md5 is not None and digest != md5:
            raise ContentError(
                f"{source}: has MD5 {digest}, not {md5} as announced; it was changed, nothing is sent"
            )
        publish(part, target)
    finally:
        # A part that a killed process linked already is the target itself: it is removed, never opened again.
        part.unlink(missing_ok=True)


def publish(part: Path, target: Path) -> None:
    """Give a complete, synced file its final name, durably. `FileExistsError` where the name is taken."""
    target.hardlink_to(part)
    part.unlink()
    sync(target.parent)


def _write_part(source: Path, part: Path, progress: Callable[[int], None]) -> str:
    """Returns the MD5 of what was written."""
    md5 = hashlib.md5(usedforsecurity=False)
    part.unlink(missing_ok=True)
    with source.open("rb") as reader, part.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            md5.update(chunk)
            writer.write(chunk)
            progress(len(chunk))
        writer.flush()
        os.fsync(writer.fileno())
    return md5.hexdigest()


def same_content(one: Path, other: Path, progress: Callable[[int], None] = lambda _: None) -> bool:
    """Whether two files hold the same bytes; `progress` gets the number of each chunk compared."""
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(path.open("rb")) for path in (one, other)]
        sizes = [os.fstat(end.fileno()).st_size for end in ends]
        same = sizes[0] == sizes[1]
        while same and (chunk := ends[0].read(_CHUNK)):
            same = chunk == ends[1].read(_CHUNK)
            progress(len(chunk))
    return same


def _adopt(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    if not same_content(source, target, progress):
        raise ContentError(
            f"{target}: exists with other content than {source} and is never overwritten; "
            "move it away, then retry"
        )
    sync(target)
    sync(target.parent)
