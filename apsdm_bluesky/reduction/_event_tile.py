"""A tile of pixels: its events of late, and its sums of products."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _event_kernels as kernels
from ._event_table import PairTable, Slots

MAX_32 = 2**32 - 1

Rows = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Frames that are correlated together. Times count from its origin, a multiple of 2^levels frames.

    Parameters
    ----------
    events
        Packed events, tile after tile, each in the order of time.
    shift
        Frames from the last block's origin to this one's.
    start, stop
        Times of the first frame, and of the one after the last.
    open_slots
        The slots of frames that the block's first frame found incomplete, as `PairTable.slots` gives them;
        None where their products are in the sums.
    """

    events: NDArray[np.uint32]
    shift: int
    start: int
    stop: int
    open_slots: tuple[Slots, Slots] | None


class Scratch:
    """What one part needs while it works on a tile."""

    def __init__(self, reach: int) -> None:
        self.chain = np.zeros(0, np.uint64)
        self.last = np.zeros(kernels.TILE, np.uint32)
        self.window = np.zeros(kernels.TIMES + reach + 1, np.uint32)
        self.waiting = np.zeros(kernels.CHUNK, np.uint64)
        self.sums = np.zeros(kernels.TILE, np.uint32)

    def reserve(self, events: int) -> None:
        """Make room for a chain of so many events."""
        if len(self.chain) < events:
            self.chain = np.zeros(events + events // 4, np.uint64)


class Tile:
    """Correlates the events of the used pixels from `begin` to `end`, the bounds.

    Methods may use the scratch that the one before them left: call them from one part, in order.

    Products are added up in 32 bits as long as these hold them for certain, then in 64. In a block, a product
    sum grows by no more than the square of the highest sum of a pixel's counts, kept events included.

    Parameters
    ----------
    places
        Shape (TILE,): of the tile's image pixels among its used ones, -1 for none.
    products
        Zeros, flat: (slots + 1, end - begin). The last row takes the pairs that count nowhere.
    """

    def __init__(
        self,
        table: PairTable,
        places: NDArray[np.int16],
        bounds: tuple[int, int],
        products: NDArray[np.uint32],
    ) -> None:
        self.begin, self.end = bounds
        self._table = table
        self._places = places
        self.totals = np.zeros(self.end - self.begin, np.uint32)
        self._products = products
        self._wide: NDArray[np.uint64] | None = None
        self._bound = 0
        self._buffer = np.zeros(0, np.uint32)
        self.kept = self._buffer

    def correlate(self, block: Block, place: slice, scratch: Scratch) -> None:
        """Add the block's events, and leave the chain of all, kept and new, in the scratch."""
        known = len(self.kept)
        n, highest = self._link(block, place, scratch)
        products = self._products_for(highest)
        if block.open_slots is not None:
            open_from = self._open_from(block.start, scratch)
            self._add((open_from, known), block.open_slots, 1, products, scratch)
        self._add((known, n), self._table.all_slots, 1, products, scratch)
        self._keep(scratch.chain[int(scratch.window[block.stop]) : n])

    def replace(self, block: Block, place: slice, scratch: Scratch) -> None:
        """Keep the block's events: their pairs were counted elsewhere."""
        totals = self.totals.copy()
        n, _ = self._link(block, place, scratch)
        self.totals[:] = totals
        self._keep(scratch.chain[:n])

    def forget(self) -> None:
        """Keep no events."""
        self.kept = self._buffer[:0]

    def settle(self, stop: int, open_slots: tuple[Slots, Slots], scratch: Scratch) -> None:
        """Take out the products of level frames that are incomplete at the time `stop`."""
        self._link_kept(stop, scratch)
        products = self._products if self._wide is None else self._wide
        self._add((self._open_from(stop, scratch), len(self.kept)), open_slots, -1, products, scratch)

    @property
    def is_wide(self) -> bool:
        """Whether its sums of products need 64 bits."""
        return self._wide is not None

    def read_products(self, out: Rows) -> None:
        """Write the sums of products, (slots, npix) of all tiles."""
        shape, slots = (self._table.none + 1, self.end - self.begin), slice(self._table.none)
        out = out[:, self.begin : self.end]
        out[:] = self._products.reshape(shape)[slots]
        if self._wide is not None:
            out += self._wide.reshape(shape)[slots]

    def last_rows(self, stop: int, level: int, first: int, rows: Rows, scratch: Scratch) -> None:
        """Fill in the rows of a level from the kept events; as `sum_rows`."""
        self._link_kept(stop, scratch)
        self.sum_rows(level, first, rows[:, self.begin : self.end], scratch)

    def sum_rows(self, level: int, first: int, rows: Rows, scratch: Scratch) -> int:
        """Fill in rows (n, npix of the tile) of a level, from its frame `first` on, from the scratch's chain.

        Returns the highest sum: it may not have fitted the rows' dtype.
        """
        reach = self._table.reach
        return int(kernels.sum_rows(scratch.chain, scratch.window, reach, level, first, scratch.sums, rows))

    def _link_kept(self, stop: int, scratch: Scratch) -> None:
        scratch.reserve(len(self.kept))
        reach, window = self._table.reach, scratch.window
        kernels.link_kept(self.kept, 0, stop, reach, scratch.last, scratch.chain, window, scratch.sums)
        kernels.fill_window(stop, reach, window)

    def _link(self, block: Block, place: slice, scratch: Scratch) -> tuple[int, int]:
        """The number of events, and the highest sum of a pixel's counts."""
        events = block.events[place]
        scratch.reserve(len(self.kept) + len(events))
        n, highest = kernels.link_tile(
            self.kept,
            block.shift,
            events,
            block.stop,
            self._table.reach,
            self._places,
            self.totals,
            scratch.last,
            scratch.chain,
            scratch.window,
            scratch.sums,
        )
        return int(n), int(highest)

    def _add(
        self,
        events: tuple[int, int],
        slots: tuple[Slots, Slots],
        sign: int,
        products: NDArray[np.uint32] | NDArray[np.uint64],
        scratch: Scratch,
    ) -> None:
        """Add the pairs whose later event is one of these (begin, end) of the scratch's chain."""
        (begin, end), (of_pairs, own) = events, slots
        none, pixels = self._table.none, self.end - self.begin
        if of_pairs.shape[-1] > 1:
            kernels.add_pairs(
                scratch.chain,
                begin,
                end,
                scratch.window,
                of_pairs.reshape(-1),
                of_pairs.shape,
                none,
                sign,
                scratch.waiting,
                products,
                pixels,
            )
        if own.shape[-1] > 1:
            kernels.add_squares(scratch.chain, begin, end, own, none, sign, products, pixels)

    def _open_from(self, stop: int, scratch: Scratch) -> int:
        """The first event that may belong to a level's frame that is incomplete at the time `stop`."""
        longest = 1 << (self._table.levels - 1)
        return int(scratch.window[stop // longest * longest + self._table.reach])

    def _products_for(self, highest: int) -> NDArray[np.uint32] | NDArray[np.uint64]:
        """Where to add products, when a pixel's counts sum up to `highest` at most."""
        if self._bound + highest**2 <= MAX_32:
            self._bound += highest**2
            return self._products
        if self._wide is None:
            self._wide = np.zeros(self._products.shape, np.uint64)
        self._wide += self._products
        self._products[:] = 0
        self._bound = highest**2
        if self._bound <= MAX_32:
            return self._products
        self._bound = 0
        return self._wide

    def _keep(self, chain: NDArray[np.uint64]) -> None:
        if len(self._buffer) < len(chain):
            self._buffer = np.zeros(len(chain) + len(chain) // 4, np.uint32)
        self.kept = self._buffer[: len(chain)]
        kernels.unchain(chain, self.kept)
