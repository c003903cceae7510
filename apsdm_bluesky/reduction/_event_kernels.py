"""Compiled loops of `_event_levels`: event words into tiles of pixels, and pairs of events into products.

A packed event is a uint32: place in its tile << 21 | time << 8 | count, 11, 13 and 8 bits. The place is that
in the tile's image pixels until the event is linked, then that among its used pixels. Counts above 255 are
packed in pieces, which add up as words of one pixel do.

Indices are unsigned: the compiler then leaves out what Python's negative ones need, which made the loop over
pairs half as fast.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

TILE_BITS, TIME_BITS, PIECE_BITS = 11, 13, 8
TILE = 1 << TILE_BITS
# Tiles that a word can name.
TILES = 1 << (PIXEL_BITS - TILE_BITS)
TIMES = 1 << TIME_BITS
PIECE = (1 << PIECE_BITS) - 1
# Events taken through all their pairs before the next ones: their lists stay in the first-level cache.
CHUNK = 1024

_COUNT = np.uint64((1 << COUNT_BITS) - 1)
_TILE_SHIFT = np.uint64(PIXEL_SHIFT + TILE_BITS)
_TILE_MASK = np.uint64(TILES - 1)
_PIXEL_SHIFT = np.uint64(PIXEL_SHIFT)
_TILE_PIXEL_MASK = np.uint64(TILE - 1)
_PACK_SHIFT = np.uint64(TIME_BITS + PIECE_BITS)
_PLACE_SHIFT = np.uint32(TIME_BITS + PIECE_BITS)
_TIME_SHIFT = np.uint32(PIECE_BITS)
_TIME_MASK = np.uint32(TIMES - 1)
_PIECE = np.uint32(PIECE)
_TIME_AND_COUNT = np.uint32((1 << (TIME_BITS + PIECE_BITS)) - 1)
_U0, _U1 = np.uintp(0), np.uintp(1)

# An entry of a chain: a packed event << 32 | number (from 1) of the one before it in its pixel, 0 for none.
_EVENT_SHIFT = np.uint64(32)
_STAMP_SHIFT = np.uint64(32 + PIECE_BITS)
_FIRST_SHIFT = np.uint64(32 + TIME_BITS + PIECE_BITS)
_NUMBER = np.uint64(2**32 - 1)
_NO_NUMBER = np.uint64(2**64 - 2**32)
_COUNT_64 = np.uint64(PIECE)

Events = NDArray[np.uint32]
Chain = NDArray[np.uint64]
Index = NDArray[np.uint32]
Sums = NDArray[np.uint32]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_pieces(
    words: NDArray[np.uint64], begin: int, end: int, pieces: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """Add up the packed events that each tile will get; pieces (TILES,)."""
    for i in range(begin, end):
        word = words[np.uintp(i)]
        tile = np.uintp((word >> _TILE_SHIFT) & _TILE_MASK)
        pieces[tile] += 1
        count = np.int64(word & _COUNT)
        if count > PIECE:
            pieces[tile] += (count - 1) // PIECE


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
    """Pack the words of frames `begin` to `end`, the first at `time`, each to the next place of its tile.

    Neighbours in a frame mostly share their tile, so its place is written back only when the tile changes.
    """
    tile, place = _U0, places[0]
    for frame in range(begin, end):
        stamp = np.uint32((time + frame - begin) << PIECE_BITS)
        for i in range(offsets[frame], offsets[frame + 1]):
            word = words[np.uintp(i)]
            of_word = np.uintp((word >> _TILE_SHIFT) & _TILE_MASK)
            if of_word != tile:
                places[tile] = place
                tile, place = of_word, places[of_word]
            event = np.uint32(((word >> _PIXEL_SHIFT) & _TILE_PIXEL_MASK) << _PACK_SHIFT) | stamp
            count = np.uint32(word & _COUNT)
            while count > _PIECE:
                events[np.uintp(place)] = event | _PIECE
                place += 1
                count -= _PIECE
            events[np.uintp(place)] = event | count
            place += 1
    places[tile] = place


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def link_kept(
    kept: Events, shift: int, stop: int, reach: int, last: Index, chain: Chain, window: Index, sums: Sums
) -> None:  # pragma: no cover - compiled
    """Start a tile's chain with the events that it kept, now `shift` frames earlier in time.

    last[place] becomes the number (from 1) of the last event of a pixel, sums[place] the pixel's counts, and
    window[t + reach + 1] the events up to time t, if there are any at t.
    """
    last[:] = 0
    sums[:] = 0
    window[: stop + reach + 1] = 0
    back = np.uint32(shift << PIECE_BITS)
    for i in range(len(kept)):
        event = kept[np.uintp(i)] - back
        place = np.uintp(event >> _PLACE_SHIFT)
        chain[np.uintp(i)] = (np.uint64(event) << _EVENT_SHIFT) | np.uint64(last[place])
        last[place] = i + 1
        sums[place] += event & _PIECE
        window[np.uintp((event >> _TIME_SHIFT) & _TIME_MASK) + np.uintp(reach + 1)] = i + 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def link_new(
    events: Events,
    known: int,
    reach: int,
    places: NDArray[np.int16],
    last: Index,
    chain: Chain,
    window: Index,
    sums: Sums,
) -> int:  # pragma: no cover - compiled
    """Go on with new events, after `known` ones. Returns their number without those of unused pixels.

    Shape: places (TILE,), of each pixel among the used ones, -1 for none.
    """
    n = np.uintp(known)
    for i in range(len(events)):
        event = events[np.uintp(i)]
        of_pixel = places[np.uintp(event >> _PLACE_SHIFT)]
        if of_pixel < 0:
            continue
        place = np.uintp(of_pixel)
        event = np.uint32(np.uint32(of_pixel) << _PLACE_SHIFT) | (event & _TIME_AND_COUNT)
        chain[n] = (np.uint64(event) << _EVENT_SHIFT) | np.uint64(last[place])
        n += _U1
        last[place] = n
        sums[place] += event & _PIECE
        window[np.uintp((event >> _TIME_SHIFT) & _TIME_MASK) + np.uintp(reach + 1)] = n
    return int(n)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def fill_window(stop: int, reach: int, window: Index) -> None:  # pragma: no cover - compiled
    """Make window[t] the number of events before time t - reach, for t from 0 to stop + reach."""
    highest = np.uint32(0)
    for t in range(stop + reach + 1):
        highest = max(highest, window[t])
        window[t] = highest


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
    chain: Chain,
    window: Index,
    sums: Sums,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Chain a tile's events, kept and new; add the new ones to its pixels' totals (npix of the tile,).

    Returns the number of events, and the highest sum of a pixel's counts.
    """
    link_kept(kept, shift, stop, reach, last, chain, window, sums)
    for place in range(len(totals)):
        totals[place] -= sums[place]
    n = link_new(events, len(kept), reach, places, last, chain, window, sums)
    fill_window(stop, reach, window)
    highest = np.uint32(0)
    for place in range(len(totals)):
        totals[place] += sums[place]
        highest = max(highest, sums[place])
    return n, int(highest)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def unchain(chain: Chain, events: Events) -> None:  # pragma: no cover - compiled
    """The events of a chain."""
    for i in range(len(events)):
        events[i] = np.uint32(chain[i] >> _EVENT_SHIFT)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def add_pairs(
    chain: Chain,
    begin: int,
    end: int,
    window: Index,
    slots: NDArray[np.uint8],
    shape: tuple[int, int, int],
    none: int,
    sign: int,
    waiting: Chain,
    products: NDArray[np.unsignedinteger],
    pixels: int,
) -> None:  # pragma: no cover - compiled
    """Add the products, times `sign`, of the pairs whose later event is one from `begin` to `end`.

    All events step back through their pixels side by side, and those that leave the window drop out of the
    list: hardly a branch depends on the data. An entry of the list is the later event with the number of the
    earlier one, which is what the chain holds.

    Shapes, flat: slots (phases, reach + 1, m); products (none + 1, pixels), its last row for what counts at
    no lag.
    """
    phase, distances, most = np.uint32(shape[0] - 1), np.uintp(shape[1]), np.uintp(shape[2])
    factor, width, nowhere = np.uint64(sign), np.uintp(pixels), np.uint8(none)
    for start in range(begin, end, CHUNK):
        n = _U0
        for i in range(start, min(start + CHUNK, end)):
            entry = chain[np.uintp(i)]
            waiting[n] = entry
            time = np.uint32(entry >> _STAMP_SHIFT) & _TIME_MASK
            n += np.uintp(np.uint32(entry & _NUMBER) > window[np.uintp(time)])
        while n > _U0:
            left = _U0
            for k in range(n):
                entry = waiting[np.uintp(k)]
                partner = chain[np.uintp(entry & _NUMBER) - _U1]
                time = np.uint32(entry >> _STAMP_SHIFT) & _TIME_MASK
                distance = np.uintp(time - (np.uint32(partner >> _STAMP_SHIFT) & _TIME_MASK))
                product = ((entry >> _EVENT_SHIFT) & _COUNT_64) * ((partner >> _EVENT_SHIFT) & _COUNT_64)
                product *= factor
                at = (np.uintp(time & phase) * distances + distance) * most
                place = np.uintp(entry >> _FIRST_SHIFT)
                products[np.uintp(slots[at]) * width + place] += product
                at += _U1
                while slots[at] != nowhere:
                    products[np.uintp(slots[at]) * width + place] += product
                    at += _U1
                before = partner & _NUMBER
                waiting[left] = (entry & _NO_NUMBER) | before
                left += np.uintp(np.uint32(before) > window[np.uintp(time)])
            n = left


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def add_squares(
    chain: Chain,
    begin: int,
    end: int,
    slots: NDArray[np.uint8],
    none: int,
    sign: int,
    products: NDArray[np.unsignedinteger],
    pixels: int,
) -> None:  # pragma: no cover - compiled
    """Add the events' own squares, times `sign`: lag 0. Slots (phases, k), products as of `add_pairs`."""
    phase = np.uint32(slots.shape[0] - 1)
    for i in range(begin, end):
        event = np.uint32(chain[i] >> _EVENT_SHIFT)
        count = np.uint64(event & _PIECE)
        for slot in slots[np.intp((event >> _TIME_SHIFT) & phase)]:
            if slot != none:
                at = np.intp(slot) * pixels + np.intp(event >> _PLACE_SHIFT)
                products[at] += count * count * np.uint64(sign)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sum_rows(
    chain: Chain,
    window: Index,
    reach: int,
    level: int,
    first: int,
    sums: Sums,
    rows: NDArray[np.unsignedinteger],
) -> int:  # pragma: no cover - compiled
    """Fill rows (n, npix of the tile) with the sums of the level's frames from `first` on.

    Returns the highest sum: what is above the rows' dtype was cut off. sums (TILE,) is scratch.
    """
    highest = np.uint32(0)
    for i in range(len(rows)):
        row, pixels = rows[i], sums[: rows.shape[1]]
        pixels[:] = 0
        time = (first + i) << level
        for k in range(window[time + reach], window[time + (1 << level) + reach]):
            entry = chain[np.uintp(k)]
            pixels[np.uintp(entry >> _FIRST_SHIFT)] += np.uint32(entry >> _EVENT_SHIFT) & _PIECE
        for place in range(len(row)):
            highest = max(highest, pixels[place])
            row[place] = pixels[place]
    return int(highest)
