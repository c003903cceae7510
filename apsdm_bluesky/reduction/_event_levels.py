"""The low levels of multi-tau from events: the work goes with the photons, not with the pixels."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from . import _event_kernels as kernels
from ._event_table import PairTable
from ._event_tile import Block, Scratch, Tile
from ._workers import OneThread, Workers

# Words of a block, unless one frame has more.
MAX_WORDS = 1 << 24

Rows = NDArray[np.unsignedinteger]


class EventLevels:
    """Correlates the low levels of an unbroken stretch of frames that come as events.

    Frames come in blocks of any length. The products of the low levels' pairs are added up here; the frames
    of the level above them are returned. Which frames had no partner is the caller's to know: `last_rows`
    gives those at the end of a stretch. Another begins with `start_from`; sums are over all stretches.

    Blocks of 4,000 frames or more cost a third less than those of 1,000: each reads and writes all sums.

    Events stay in the order of time, in tiles of pixels whose sums fit the second-level cache. Each event
    knows the one before it in its pixel; `PairTable` tells at which lags a pair counts. A frame of a level
    counts from its first event on: the products of incomplete ones are taken out for a read-out.

    Parameters
    ----------
    pixels
        Shape (npix,): the used pixels (row-major), increasing.
    image_pixels
        Pixels of an image.
    lags
        For each low level, from 0 on, its lags in units of its own frames, increasing; lag 0 may be one.
    """

    def __init__(
        self,
        pixels: NDArray[np.int64],
        image_pixels: int,
        lags: Sequence[NDArray[np.int64]],
        workers: Workers | None = None,
    ) -> None:
        self._table = PairTable(lags)
        self._max_frames = kernels.TIMES - self.reach - self._table.phases
        self._workers = workers or OneThread()
        self._scratch = [Scratch(self.reach) for _ in range(self._workers.threads)]
        self._tiles = _tiles(pixels, image_pixels, self._table)
        self._events = np.zeros(0, np.uint32)
        self._rows: Rows = np.zeros((0, len(pixels)), np.uint8)
        self._next = self._first = self._origin = 0
        self._settled = True

    @property
    def reach(self) -> int:
        """How many frames before the next one may still find a partner."""
        return self._table.reach

    def totals(self) -> NDArray[np.uint32]:
        """Shape (npix,): each pixel's counts in the frames that were pushed."""
        return np.concatenate([tile.totals for tile in self._tiles])

    def products(self, places: int) -> Rows:
        """The sums of products, shape (lags of all levels, places): those of the pixels come first.

        They are uint32, or uint64 where that is not enough.
        """
        self._settle()
        dtype = np.uint64 if any(tile.is_wide for tile in self._tiles) else np.uint32
        out = np.zeros((self._table.none, places), dtype)
        self._run(lambda tile, _: self._tiles[tile].read_products(out))
        return out

    def last_rows(self, level: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """The stretch's last complete frames of a low level, `most` of them at most, as far as `reach` goes.

        Returns
        -------
        slots, rows
            Shapes (n,), (n, npix).
        """
        known = max(self._first, self._next - self.reach)
        stop = self._next >> level
        slots = np.arange(min(max(stop - most, -(-known >> level)), stop), stop)
        rows = np.zeros((len(slots), self._rows.shape[1]), np.uint32)
        if len(slots):
            first = int(slots[0]) - (self._origin >> level)
            time = self._next - self._origin
            self._run(lambda tile, scratch: self._tiles[tile].last_rows(time, level, first, rows, scratch))
        return slots, rows

    def start_from(self, start: int, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Begin a stretch with frame `start`, after frames that were correlated elsewhere.

        Their events come as in `push`: the last `reach` frames before `start` or more, unbroken. There may be
        fewer, or none, if no frame came before them and the first one's index is a multiple of 2^levels.

        Raises
        ------
        ReductionError
            Fewer frames than that.
        """
        frames = len(offsets) - 1
        if frames < self.reach and (start - frames) % self._table.phases:
            raise ReductionError(
                f"to go on with events from frame {start} takes the {self.reach} frames before"
            )
        self._settle()
        begin = max(0, frames - self.reach)
        self._first = self._next = start - (frames - begin)
        for tile in self._tiles:
            tile.forget()
        block, places = self._pack(words, offsets, begin, frames)
        self._run(lambda tile, scratch: self._tiles[tile].replace(block, places[tile], scratch))
        self._next = start

    def push(
        self, start: int, words: NDArray[np.uint64], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Rows]:
        """Add the frames from `start` on, and return those of the level above that are complete now.

        Parameters
        ----------
        start
            The frame after the last one of the block before.
        words, offsets
            As of `EventBatch`; every pixel lies in the image. `offsets` may be a part of the batch's.

        Returns
        -------
        slots, rows
            Shapes (n,), (n, npix); the rows uint8, or wider where needed; overwritten by the next call.

        Raises
        ------
        ReductionError
            Another start.
        """
        if start != self._next:
            raise ReductionError(f"events from frame {start} do not go on from frame {self._next - 1}")
        level = self._table.levels
        slots = np.arange(start >> level, (start + len(offsets) - 1) >> level)
        rows = self._rows_for(len(slots))
        for begin, end in self._cuts(offsets):
            first = (self._next >> level) - (start >> level)
            rows = self._push_block(words, offsets, begin, end, rows, first)
        return slots, rows

    def _push_block(
        self,
        words: NDArray[np.uint64],
        offsets: NDArray[np.int64],
        begin: int,
        end: int,
        rows: Rows,
        first: int,
    ) -> Rows:
        """Add the frames from begin to end of the batch, and fill in rows from `first` on.

        Returns the rows: others, if the sums do not fit these.
        """
        block, places = self._pack(words, offsets, begin, end)
        level = self._table.levels
        first_row = block.start >> level
        stop = first + (block.stop >> level) - first_row
        fitted = np.iinfo(rows.dtype).max
        wider: dict[int, NDArray[np.uint32]] = {}

        def task(number: int, scratch: Scratch) -> None:
            tile = self._tiles[number]
            tile.correlate(block, places[number], scratch)
            of_tile = rows[first:stop, tile.begin : tile.end]
            if tile.sum_rows(level, first_row, of_tile, scratch) > fitted:
                wider[number] = np.zeros(of_tile.shape, np.uint32)
                tile.sum_rows(level, first_row, wider[number], scratch)

        self._run(task)
        self._next += end - begin
        self._settled = self._next % self._table.phases == 0
        return self._widened(rows, wider, first, stop)

    def _widened(self, rows: Rows, wider: dict[int, NDArray[np.uint32]], first: int, stop: int) -> Rows:
        """The rows with those of some tiles replaced; from now on, rows have the dtype that this needs."""
        if wider:
            highest = max(int(of_tile.max()) for of_tile in wider.values())
            self._rows = rows = rows.astype(np.uint16 if highest < 2**16 else np.uint32)
        for number, of_tile in wider.items():
            rows[first:stop, self._tiles[number].begin : self._tiles[number].end] = of_tile
        return rows

    def _rows_for(self, n: int) -> Rows:
        if len(self._rows) < n:
            self._rows = np.empty((n, self._rows.shape[1]), self._rows.dtype)
        return self._rows[:n]

    def _cuts(self, offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """(begin, end) of the blocks: no more frames than times can be packed, `MAX_WORDS` words."""
        begin, frames = 0, len(offsets) - 1
        while begin < frames:
            end = int(np.searchsorted(offsets, offsets[begin] + MAX_WORDS, "right")) - 1
            end = min(max(end, begin + 1), begin + self._max_frames, frames)
            yield begin, end
            begin = end

    def _pack(
        self, words: NDArray[np.uint64], offsets: NDArray[np.int64], begin: int, end: int
    ) -> tuple[Block, list[slice]]:
        """Pack the words of the frames from begin to end, tile by tile: each one's place in the block."""
        phases = self._table.phases
        origin = (self._next - self.reach) // phases * phases
        parts = len(self._scratch)
        shares = np.linspace(offsets[begin], offsets[end], parts + 1)
        cuts = begin + np.searchsorted(offsets[begin:end], shares)
        cuts[0], cuts[-1] = begin, end
        pieces = np.zeros((parts, kernels.TILES), np.int64)
        self._workers.run(
            lambda part: kernels.count_pieces(
                words, offsets[cuts[part]], offsets[cuts[part + 1]], pieces[part]
            ),
            parts,
        )
        pieces = pieces[:, : len(self._tiles)]
        edges = np.concatenate([[0], np.cumsum(pieces.sum(axis=0))])
        if len(self._events) < edges[-1]:
            self._events = np.zeros(int(edges[-1]) + int(edges[-1]) // 4, np.uint32)
        places = edges[:-1] + np.cumsum(pieces, axis=0) - pieces
        time = self._next - origin
        self._workers.run(
            lambda part: kernels.split(
                words,
                offsets,
                cuts[part],
                cuts[part + 1],
                time + int(cuts[part]) - begin,
                places[part],
                self._events,
            ),
            parts,
        )
        block = Block(
            events=self._events,
            shift=origin - self._origin,
            start=time,
            stop=time + end - begin,
            open_slots=self._table.slots(time % phases) if self._settled and time % phases else None,
        )
        self._origin = origin
        return block, [slice(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]

    def _settle(self) -> None:
        """Take out the products of level frames that are incomplete."""
        if self._settled:
            return
        stop = self._next - self._origin
        open_slots = self._table.slots(stop % self._table.phases)
        self._run(lambda tile, scratch: self._tiles[tile].settle(stop, open_slots, scratch))
        self._settled = True

    def _run(self, task: Callable[[int, Scratch], None]) -> None:
        """Run the task on every tile. A part takes the next one when it is ready: tiles differ in work."""
        following = count()

        def part_of(part: int) -> None:
            while (tile := next(following)) < len(self._tiles):
                task(tile, self._scratch[part])

        self._workers.run(part_of, len(self._scratch))


def _tiles(pixels: NDArray[np.int64], image_pixels: int, table: PairTable) -> list[Tile]:
    number = -(-image_pixels // kernels.TILE)
    edges = np.searchsorted(pixels, np.arange(number + 1) * kernels.TILE)
    places = np.full((number, kernels.TILE), -1, np.int16)
    tile = pixels // kernels.TILE
    places[tile, pixels % kernels.TILE] = np.arange(len(pixels)) - edges[tile]
    products = np.zeros((table.none + 1) * len(pixels), np.uint32)
    bounds = list(pairwise(edges.tolist()))
    shares = [products[(table.none + 1) * begin : (table.none + 1) * end] for begin, end in bounds]
    return [Tile(table, *of_tile) for of_tile in zip(places, bounds, shares, strict=True)]
