"""Is an HDF5 file closed and whole? By its superblock alone.

HDF5 File Format Specification Version 3.0, II.A "Disk Format: Level 0A - Format Signature and Superblock".
The signature stands at byte 0, or at 512, 1024, 2048, ... behind a user block; what follows, counted from it:

- Versions 0 and 1: the width of addresses at byte 13; addresses from byte 24 (28 in version 1) on: base,
  free space, end of file, driver block.
- Versions 2 and 3: the width at byte 9, the consistency flags at byte 11; addresses from byte 12 on: base,
  extension, end of file, root. Flags: bit 0, open for writing; bit 2, open for a single writer and many
  readers. They hold since version 3 (HDF5 2.0 sets them in version 2, too).

Where no flag tells, the size does: when the library closes a file it cuts it at its end-of-file address,
and while it writes, what it appends lies behind the address that was last written (seen with HDF5 2.0, all
versions).
"""

from ._content_reader import ContentReader

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIRST_USER_BLOCK = 512
_WRITING, _SWMR = 0b001, 0b100
_NEWEST = 3
_FLAGGED = 3


def why_not_hdf5(content: ContentReader) -> str | None:
    """Why an HDF5 file is not closed or not whole; None when it is.

    Raises
    ------
    ShortError
        It ends within its superblock, or before its end-of-file address.
    """
    place = _signature_place(content)
    if place is None:
        return "it has no HDF5 signature"
    head = content.at(place, 16)
    version = head[8]
    if version > _NEWEST:
        return None  # of a version that is not known here nothing can be said but that it settled
    width = head[13 if version < 2 else 9]
    if width not in (2, 4, 8):
        return f"its superblock has addresses of {width} bytes"
    if version >= 2 and head[11] & (_WRITING | _SWMR):
        return f"it is open for writing{' (SWMR)' if head[11] & _SWMR else ''}, or was not closed"
    base, _, end = _addresses(content, place + (24, 28, 12, 12)[version], width)
    # A user block may have been put before it later: then the base is not where it stands.
    end += place - base
    content.reach(end)
    if version < _FLAGGED and end < content.size:
        return f"it is open for writing: it has {content.size} bytes, its superblock counts {end}"
    return None


def _signature_place(content: ContentReader) -> int | None:
    place = 0
    while place + len(_SIGNATURE) <= content.size:
        if content.at(place, len(_SIGNATURE)) == _SIGNATURE:
            return place
        place = place * 2 or _FIRST_USER_BLOCK
    return None


def _addresses(content: ContentReader, place: int, width: int) -> tuple[int, ...]:
    """Base address, another, and the end of the file [bytes]."""
    piece = content.at(place, 3 * width)
    return tuple(int.from_bytes(piece[at : at + width], "little") for at in range(0, 3 * width, width))
