"""The headers of a bundle's tar, read from bytes that may come from anybody: only plain files are taken."""

import re
import tarfile
from dataclasses import dataclass
from typing import BinaryIO

from apsdm_bluesky.errors import FormatError

from ._names import printable

BLOCK = tarfile.BLOCKSIZE
MAX_BLOCKS = 34
"""Blocks of a header: the extended one, up to 16 KiB of records (long names, big sizes), the plain one."""
_RECORD = re.compile(rb"(?P<length>[1-9]\d{0,4}) (?P<key>[^=\n]+)=")


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
    info, end, told = _parsed(file.read(BLOCK), position), position + BLOCK, {}
    if info.type == tarfile.XHDTYPE:
        if not 0 <= info.size <= (MAX_BLOCKS - 2) * BLOCK:
            raise FormatError(f"byte {position}: an extended tar header of {info.size} bytes")
        told = _records(file.read(-(-info.size // BLOCK) * BLOCK)[: info.size], position)
        end = file.tell() + BLOCK
        info = _parsed(file.read(BLOCK), position)
    name, size = told.get("path", info.name), _number(told["size"]) if "size" in told else info.size
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise FormatError(f"byte {position}: {printable(name)} is no plain file (type {info.type!r})")
    if size < 0:
        raise FormatError(f"byte {position}: {printable(name)} has no size")
    return TarHeader(name=name, size=size, offset=end)


def _parsed(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise FormatError(f"byte {position}: no tar header ({printable(error)})") from error


def _records(data: bytes, position: int) -> dict[str, str]:
    """The records of an extended header: each its length, a key and a value; POSIX.1-2001, pax.

    Bundles have two keys, 'path' and 'size'. Any other one would change what the file is.
    """
    told: dict[str, str] = {}
    while data:
        match = _RECORD.match(data)
        record = data[: int(match["length"])] if match else b""
        if match is None or len(record) < int(match["length"]) or not record.endswith(b"\n"):
            raise FormatError(f"byte {position}: an extended tar header with records that are none")
        key = match["key"].decode("ascii", "backslashreplace")
        if key not in ("path", "size"):
            raise FormatError(f"byte {position}: an extended tar header with {printable(key)}")
        try:
            told[key] = record[match.end() : -1].decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"byte {position}: a name that is no UTF-8") from error
        data = data[len(record) :]
    return told


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
