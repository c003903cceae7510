"""The headers of a bundle's tar, read from bytes that may come from anybody: only plain files are taken."""

import io
import tarfile
from dataclasses import dataclass
from typing import BinaryIO

from apsdm_bluesky.errors import FormatError

BLOCK = tarfile.BLOCKSIZE
MAX_BLOCKS = 34
"""Blocks of a header: the extended one, up to 16 KiB of records (long names, big sizes), the plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarHeader:
    """A plain file in a tar: its name, its size and where its content begins [bytes]."""

    name: str
    size: int
    offset: int


def read_header(file: BinaryIO, position: int) -> TarHeader:
    """The header that begins at `position` of a tar. At most `MAX_BLOCKS` blocks are read.

    Raises
    ------
    FormatError
        There is none, or one of something that no bundle has: a link, a device, a folder, a sparse file.
    """
    file.seek(position)
    blocks = file.read(BLOCK)
    first = _parsed(blocks, position)
    if first.type == tarfile.XHDTYPE:
        if not 0 <= first.size <= (MAX_BLOCKS - 2) * BLOCK:
            raise FormatError(f"byte {position}: an extended tar header of {first.size} bytes")
        blocks += file.read(-(-first.size // BLOCK) * BLOCK + BLOCK)
        first = _extended(blocks, position)
    if first.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or first.issparse():
        raise FormatError(f"byte {position}: {first.name!r} is no plain file (type {first.type!r})")
    if first.size < 0:
        raise FormatError(f"byte {position}: {first.name!r} has a size of {first.size} bytes")
    return TarHeader(name=first.name, size=first.size, offset=position + len(blocks))


def _parsed(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise FormatError(f"byte {position}: no tar header ({error})") from error


def _extended(blocks: bytes, position: int) -> tarfile.TarInfo:
    """The plain header that ends `blocks`, with what the extended one before it tells."""
    try:
        with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:", encoding="utf-8", errors="strict") as tar:
            info = tar.next()
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(f"byte {position}: an extended tar header that cannot be read ({error})") from error
    if info is None or info.offset_data != len(blocks):
        raise FormatError(f"byte {position}: an extended tar header that no plain one follows")
    return info
