"""Compiled loops of `_event_levels`: event words into tiles of pixels, and pairs of events into products.

A packed event is a uint32: place in its tile << 20 | time << 8 | count, 12, 12 and 8 bits. The place is that
in the tile's image pixels until the event was linked, then that among its used pixels. Counts above 255 are
packed in pieces, which add up as words of one pixel do.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

TILE_BITS = 12
TILE = 1 << TILE_BITS
# Tiles that a word can name.
TILES = 1 << (PIXEL_BITS - TILE_BITS)
TIME_BITS = 12
TIMES = 1 << TIME_BITS
PIECE_BITS = 8
PIECE = (1 << PIECE_BITS) - 1
# Candidates taken through all their pairs before the next ones: their lists and products stay in the cache.
CHUNK = 1024

_COUNT = np.uint64((1 << COUNT_BITS) - 1)
_TILE_SHIFT = np.uint64(PIXEL_SHIFT + TILE_BITS)
_PIXEL_SHIFT = np.uint64(PIXEL_SHIFT)
_TILE_MASK = np.uint64(TILES - 1)
_PLACE_MASK = np.uint64(TILE - 1)
_PLACE_SHIFT = np.uint32(TIME_BITS + PIECE_BITS)
_TIME_SHIFT = np.uint32(PIECE_BITS)
_TIME_MASK = np.uint32(TIMES - 1)
_PIECE = np.uint32(PIECE)
_REST = np.uint32((1 << (TIME_BITS + PIECE_BITS)) - 1)

Events = NDArray[np.uint32]
Index = NDArray[np.int32]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_pieces(
    words: NDArray[np.uint64], begin: int, end: int, pieces: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """Add up the packed events that each tile will get; pieces (TILES,)."""
    for i in range(begin, end):
        word = words[i]
        count = word & _COUNT
        pieces[np.intp((word >> _TILE_SHIFT) & _TILE_MASK)] += np.int64(
            (count + np.uint64(PIECE - 1)) // np.uint64(PIECE)
        )


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def split(
    words: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    begin: int,
    end: int,
    time: int,
    places: NDArray[np.int64],
    events: Events,
) -> None:  # pragma: no cover - compiled
    """Pack the words of frames `begin` to `end`, the first at `time`, each to the next place of its tile."""
    for frame in range(begin, end):
        stamp = np.uint32((time + frame - begin) << PIECE_BITS)
        for i in range(offsets[frame], offsets[frame + 1]):
            word = words[i]
            tile = np.intp((word >> _TILE_SHIFT) & _TILE_MASK)
            event = np.uint32(((word >> _PIXEL_SHIFT) & _PLACE_MASK) << np.uint64(_PLACE_SHIFT)) | stamp
            count = np.int64(word & _COUNT)
            place = places[tile]
            while count > PIECE:
                events[place] = event | _PIECE
                place += 1
                count -= PIECE
            if count > 0:
                events[place] = event | np.uint32(count)
                place += 1
            places[tile] = place


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def link_kept(
    kept: Events, shift: int, events: Events, last: Index, link: Index, sums: NDArray[np.uint32]
) -> None:  # pragma: no cover - compiled
    """Start a tile's events with those that it kept, now `shift` frames earlier in time, and link them."""
    last[:] = -1
    sums[:] = 0
    back = np.uint32(shift << PIECE_BITS)
    for i in range(len(kept)):
        event = kept[i] - back
        events[i] = event
        place = np.intp(event >> _PLACE_SHIFT)
        link[i] = last[place]
        last[place] = i
        sums[place] += event & _PIECE


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def link_new(
    events: Events,
    known: int,
    places: NDArray[np.int16],
    last: Index,
    link: Index,
    sums: NDArray[np.uint32],
) -> int:  # pragma: no cover - compiled
    """Drop the events of pixels that are not used, link the others; returns how many events are left.

    Shapes: places (TILE,): of each pixel among the used ones, -1 for none. link[i] is the event before
    event i in the same pixel, -1 for none; last[place] is the last one of a pixel, sums[place] its counts.
    """
    n = known
    for i in range(known, len(events)):
        event = events[i]
        place = np.intp(places[np.intp(event >> _PLACE_SHIFT)])
        if place < 0:
            continue
        events[n] = np.uint32(place << np.intp(_PLACE_SHIFT)) | (event & _REST)
        link[n] = last[place]
        last[place] = n
        sums[place] += event & _PIECE
        n += 1
    return n


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def time_windows(events: Events, reach: int, stop: int, window: Index) -> None:  # pragma: no cover - compiled
    """``window[t]``: the first event at time t - reach or later, for t from 0 to stop + reach."""
    n = 0
    for t in range(stop + reach + 1):
        while n < len(events) and np.int64((events[n] >> _TIME_SHIFT) & _TIME_MASK) < t - reach:
            n += 1
        window[t] = n


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def link_tile(
    kept: Events,
    shift: int,
    events: Events,
    stop: int,
    reach: int,
    places: NDArray[np.int16],
    totals: NDArray[np.uint32],
    last: Index,
    link: Index,
    window: Index,
    sums: NDArray[np.uint32],
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Link a tile's events, kept and new; add the new ones to its pixels' totals (npix of the tile,).

    Returns the number of events, and the highest sum of a pixel's counts.
    """
    link_kept(kept, shift, events, last, link, sums)
    for place in range(len(totals)):
        totals[place] -= sums[place]
    n = link_new(events, len(kept), places, last, link, sums)
    time_windows(events[:n], reach, stop, window)
    highest = np.uint32(0)
    for place in range(len(totals)):
        totals[place] += sums[place]
        highest = max(highest, sums[place])
    return n, np.int64(highest)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def add_pairs(
    events: Events,
    begin: int,
    link: Index,
    window: Index,
    slots: NDArray[np.uint8],
    none: int,
    sign: int,
    later: Index,
    earlier: Index,
    products: NDArray[np.unsignedinteger],
) -> None:  # pragma: no cover - compiled
    """Add the products, times `sign`, of the pairs whose later event is one from `begin` on.

    All events step back through their pixels side by side, and those that have left the window drop out of
    the list: no branch depends on the data.

    Shapes: slots (phases, reach + 1, m); products (nslots, npix of the tile).
    """
    phase = np.uint32(slots.shape[0] - 1)
    factor = np.uint64(sign)
    for start in range(begin, len(events), CHUNK):
        n = 0
        for i in range(start, min(start + CHUNK, len(events))):
            later[n] = i
            earlier[n] = link[i]
            n += np.intp(link[i] >= window[np.intp((events[i] >> _TIME_SHIFT) & _TIME_MASK)])
        while n > 0:
            left = 0
            for k in range(n):
                i, j = np.intp(later[k]), np.intp(earlier[k])
                event, partner = events[i], events[j]
                time = (event >> _TIME_SHIFT) & _TIME_MASK
                distance = np.intp(time - ((partner >> _TIME_SHIFT) & _TIME_MASK))
                product = np.uint64(event & _PIECE) * np.uint64(partner & _PIECE) * factor
                of_pair = slots[np.intp(time & phase), distance]
                place = np.intp(event >> _PLACE_SHIFT)
                e = 0
                while of_pair[e] != none:
                    products[np.intp(of_pair[e]), place] += product
                    e += 1
                later[left] = i
                earlier[left] = link[j]
                left += np.intp(link[j] >= window[np.intp(time)])
            n = left


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def add_squares(
    events: Events,
    begin: int,
    slots: NDArray[np.uint8],
    none: int,
    sign: int,
    products: NDArray[np.unsignedinteger],
) -> None:  # pragma: no cover - compiled
    """Add the events' own squares, times `sign`: lag 0. Shape: slots (phases, k)."""
    phase = np.uint32(slots.shape[0] - 1)
    for i in range(begin, len(events)):
        event = events[i]
        count = np.uint64(event & _PIECE)
        of_event = slots[np.intp((event >> _TIME_SHIFT) & phase)]
        e = 0
        while of_event[e] != none:
            products[np.intp(of_event[e]), np.intp(event >> _PLACE_SHIFT)] += count * count * np.uint64(sign)
            e += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sum_rows(
    events: Events, level: int, first: int, rows: NDArray[np.unsignedinteger]
) -> None:  # pragma: no cover - compiled
    """Fill rows (n, npix of the tile) with the sums of level frames `first` on; others are left out."""
    rows[:] = 0
    for i in range(len(events)):
        event = events[i]
        row = np.intp((event >> _TIME_SHIFT) & _TIME_MASK) >> level
        if first <= row < first + len(rows):
            rows[row - first, np.intp(event >> _PLACE_SHIFT)] += event & _PIECE
