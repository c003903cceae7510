"""One member of a bundle, read by its offset: the rest of the tar is not read."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import BundleMember

from ._tar_header import BLOCK, MAX_BLOCKS, TarHeader, read_header

_CHUNK = 4 * 2**20


def copy_member(tar: Path, member: BundleMember, target: BinaryIO, progress: Callable[[int], None]) -> str:
    """Append the content of a member to `target`, chunk by chunk; to compare its digest is the caller's.

    Parameters
    ----------
    progress
        Gets the number of bytes copied, chunk by chunk; what it raises ends the copying.

    Returns
    -------
    The sha256 of what was copied, hexadecimal.

    Raises
    ------
    FormatError
        The tar is too short for the member, or has no header of this name and size before its offset.
    OSError
        The tar cannot be read, or `target` not written.
    """
    digest = hashlib.sha256()
    with tar.open("rb") as file:
        _check_place(file, member, tar.name)
        file.seek(member.offset)
        left = member.size
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise FormatError(f"{tar.name}: became shorter while {member.path!r} was read")
            target.write(chunk)
            digest.update(chunk)
            progress(len(chunk))
            left -= len(chunk)
    return digest.hexdigest()


def _check_place(file: BinaryIO, member: BundleMember, name: str) -> None:
    """The member lies within the tar, behind its own header."""
    end = file.seek(0, 2)
    if member.offset < BLOCK or member.size < 0 or member.offset + member.size > end:
        raise FormatError(
            f"{name}: {member.path!r} is to be {member.size} bytes from byte {member.offset} on, "
            f"and the tar has {end}; fetch it again"
        )
    wanted = TarHeader(name=member.path, size=member.size, offset=member.offset)
    for blocks in range(1, MAX_BLOCKS + 1):
        start = member.offset - blocks * BLOCK
        if start < 0:
            break
        with contextlib.suppress(FormatError):  # no header begins there
            if read_header(file, start) == wanted:
                return
    raise FormatError(
        f"{name}: no header of {member.path!r} stands before byte {member.offset}; "
        "the manifest is of another tar"
    )
