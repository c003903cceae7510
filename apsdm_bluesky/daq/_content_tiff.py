"""Is a TIFF whole? By its directories: each strip and tile that they name lies within the file.

TIFF Revision 6.0, section 2 "TIFF Structure". BigTIFF (version 43) has 8 bytes where TIFF has 4, and
entries of 20 bytes where TIFF has 12.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ._content_reader import ContentReader

# Place and length of strips, then of tiles.
_PAIRS = ((273, 279), (324, 325))
_TAGS = frozenset(tag for pair in _PAIRS for tag in pair)
# SHORT, LONG, LONG8, IFD8: the letters of `struct`.
_TYPES = {3: "H", 4: "I", 16: "Q", 18: "Q"}
_MOST_VALUES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Layout:
    order: str
    number: str
    """Of entries in a directory."""
    address: str

    def read(self, content: ContentReader, place: int, letters: str) -> tuple[int, ...]:
        form = f"{self.order}{letters}"
        return struct.unpack(form, content.at(place, struct.calcsize(form)))


def why_not_tiff(content: ContentReader) -> str | None:
    """Why a TIFF is not whole; None when it is.

    Raises
    ------
    ShortError
        It ends before what its directories name.
    """
    start = content.at(0, 4)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack(f"{order}H", start[2:])[0] if order else None
    if order is None or version not in (42, 43):
        return "it has no TIFF header"
    layout = _Layout(order, "H", "I") if version == 42 else _Layout(order, "Q", "Q")
    (first,) = layout.read(content, 4 if version == 42 else 8, layout.address)
    if not first:
        return "it has no image yet"
    for entries in _directories(content, layout, first):
        _reach_all(content, layout, entries)
    return None


_Entries = Mapping[int, tuple[str, int, int]]


def _directories(content: ContentReader, layout: _Layout, place: int) -> Iterator[_Entries]:
    """Of each directory, by tag: the letter of the type, how many values, and where they stand."""
    been: set[int] = set()
    while place and place not in been:
        been.add(place)
        (count,) = layout.read(content, place, layout.number)
        first = place + struct.calcsize(layout.number)
        each = 4 + 2 * struct.calcsize(layout.address)
        table = content.at(first, count * each)
        yield dict(_entries(layout, table, first, each))
        (place,) = layout.read(content, first + count * each, layout.address)


def _entries(
    layout: _Layout, table: bytes, first: int, each: int
) -> Iterator[tuple[int, tuple[str, int, int]]]:
    form = f"{layout.order}HH{layout.address * 2}"
    for at in range(0, len(table), each):
        tag, kind, count, value = struct.unpack_from(form, table, at)
        letter = _TYPES.get(kind)
        if tag not in _TAGS or letter is None:
            continue
        within = count * struct.calcsize(letter) <= struct.calcsize(layout.address)
        yield tag, (letter, count, first + at + each - struct.calcsize(layout.address) if within else value)


def _reach_all(content: ContentReader, layout: _Layout, entries: _Entries) -> None:
    for places, lengths in _PAIRS:
        if places not in entries:
            continue
        offsets = _values(content, layout, entries[places])
        counts = _values(content, layout, entries[lengths]) if lengths in entries else (0,) * len(offsets)
        content.reach(max(map(sum, zip(offsets, counts, strict=False)), default=0))


def _values(content: ContentReader, layout: _Layout, entry: tuple[str, int, int]) -> tuple[int, ...]:
    """The values of an entry; of very many, the last: what is written last tells whether all is there."""
    letter, count, place = entry
    width = struct.calcsize(letter)
    content.reach(place + count * width)
    taken = min(count, _MOST_VALUES)
    return layout.read(content, place + (count - taken) * width, f"{taken}{letter}")
