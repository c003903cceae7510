"""Compiled loops that fill and pack the rows of counts of the two-time correlation."""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

_SHIFT = np.uint64(PIXEL_SHIFT)
_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)

# The highest count that 0, 1, 2 or 3 planes hold.
TOPS = (0, 1, 3, 7)
# An event is a row of a block in the lower bits and a count above them.
ROW_BITS = 8
MAX_EVENT_COUNT = 2 ** (32 - ROW_BITS) - 1

# Times this, the lowest bits of eight bytes meet in the highest byte.
_GATHER = np.uint64(0x0102040810204080)
_LOWEST, _TOP_BYTE = np.uint64(0x0101010101010101), np.uint64(56)
_ONE, _NONE = np.uint64(1), np.uint64(0)

Counts = NDArray[Any]
Words = NDArray[np.uint64]
Events = NDArray[np.uint32]


def _fetch(frame: NDArray[Any], lines: NDArray[np.int32]) -> int:
    """Read one pixel of each cache line: many at a time come from memory, which loops over runs do not do."""
    seen = np.int64(0)
    for k in range(len(lines)):
        seen |= np.int64(frame[np.uint32(lines[k])])
    return int(seen)


def _add_frames(
    frames: NDArray[Any],
    pixels: NDArray[np.int32],
    places: NDArray[np.int32],
    row: NDArray[np.uint32],
) -> None:
    """``row[places[k]] += frame[pixels[k]]`` for every frame; frames (n, ny * nx)."""
    for frame in frames:
        for k in range(len(pixels)):
            row[np.uint32(places[k])] += np.uint32(frame[np.uint32(pixels[k])])


def _take_frame(
    frame: NDArray[Any],
    lines: NDArray[np.int32],
    pixels: NDArray[np.int32],
    places: NDArray[np.int32],
    row: NDArray[np.uint8],
) -> int:
    """``row[places[k]] = frame[pixels[k]]``; returns all counts or-ed: above 255 they did not fit.

    `lines` are the pixels' first ones in each cache line.
    """
    seen = np.int64(fetch(frame, lines))
    for k in range(len(pixels)):
        count = frame[np.uint32(pixels[k])]
        row[np.uint32(places[k])] = np.uint8(count)
        seen |= np.int64(count)
    return int(seen)


def _add_events(words: Words, places: NDArray[np.int32], row: Counts) -> int:
    """``row[places[pixel]] += count`` for every word whose place is not negative.

    Returns all sums or-ed: above the dtype's highest number they did not fit.
    """
    seen = np.int64(0)
    for i in range(len(words)):
        place = places[np.intp((words[i] >> _SHIFT) & _PIXEL_MASK)]
        if place >= 0:
            total = np.int64(row[place]) + np.int64(words[i] & _COUNT_MASK)
            row[place] = row.dtype.type(total)
            seen |= total
    return int(seen)


def _survey_row(
    row: Counts, columns: NDArray[np.int64], above: NDArray[np.uint8], sums: NDArray[np.float64]
) -> int:
    """Look at one row: returns its highest count.

    Adds 1 to ``above[t, c]`` where the row has more than ``TOPS[t]`` counts; writes the sum of each range of
    columns.
    """
    none, one, three, seven = above[0], above[1], above[2], above[3]
    kind = row.dtype.type
    highest = kind(0)
    for c in range(len(row)):
        count = row[c]
        highest = max(highest, count)
        none[c] += np.uint8(count > kind(TOPS[0]))
        one[c] += np.uint8(count > kind(TOPS[1]))
        three[c] += np.uint8(count > kind(TOPS[2]))
        seven[c] += np.uint8(count > kind(TOPS[3]))
    for k in range(len(sums)):
        total = np.uint64(0)
        for c in range(columns[k], columns[k + 1]):
            total += np.uint64(row[c])
        sums[k] = float(total)
    return int(highest)


def _pack_row(row: Counts, top: int, planes: Words, lit: Words) -> None:
    """Bits of the counts, none taken as higher than `top`, 64 pixels a word; and where there are any.

    Shapes: planes (p, nwords), lit (nwords,).
    """
    limit = row.dtype.type(top)
    clipped = np.empty(len(row), np.uint8)
    for c in range(len(row)):
        clipped[c] = np.uint8(min(row[c], limit))
    eights = clipped.view(np.uint64)
    lit[:] = 0
    for bit in range(len(planes)):
        shift = np.uint64(bit)
        for word in range(len(lit)):
            bits = _NONE
            for k in range(8):
                byte = (((eights[8 * word + k] >> shift) & _LOWEST) * _GATHER) >> _TOP_BYTE
                bits |= byte << np.uint64(8 * k)
            planes[bit, word] = bits
            lit[word] |= bits


@intrinsic  # type: ignore[untyped-decorator]
def count_bits(_context: Any, number: Any) -> Any:
    """The number of bits that are set: one instruction, for many numbers at a time."""
    return number(number), lambda _, builder, __, args: builder.ctpop(args[0])


def _list_row(
    row: Counts,
    number: int,
    lit: Words,
    top: int,
    ends: NDArray[np.int32],
    events: Events,
    extra_ends: NDArray[np.int32],
    extras: Events,
) -> None:
    """Append one row of a block to its columns' lists: its counts, and what of them is above `top`.

    `ends` are where the lists of the columns end by now.
    """
    for word in range(len(lit)):
        bits = lit[word]
        while bits:
            c = 64 * word + np.int64(count_bits((bits & (~bits + _ONE)) - _ONE))
            bits &= bits - _ONE
            count = np.int64(row[c])
            events[ends[c]] = np.uint32(count << ROW_BITS | number)
            ends[c] += 1
            if count > top:
                extras[extra_ends[c]] = np.uint32((count - top) << ROW_BITS | number)
                extra_ends[c] += 1


fetch: Any = njit(cache=True, nogil=True)(_fetch)
take_frame: Any = njit(cache=True, nogil=True)(_take_frame)
add_frames: Any = njit(cache=True, nogil=True)(_add_frames)
add_events: Any = njit(cache=True, nogil=True)(_add_events)
survey_row: Any = njit(cache=True, nogil=True)(_survey_row)
pack_row: Any = njit(cache=True, nogil=True)(_pack_row)
list_row: Any = njit(cache=True, nogil=True)(_list_row)
