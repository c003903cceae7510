"""All levels of multi-tau: frames and events, each the way that costs less."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import EventBatch, FrameBatch

from ._dense_frames import spread_events, unsigned_chunks
from ._dense_levels import CHUNK, DenseLevels
from ._event_gather import EventGather
from ._event_levels import EventLevels
from ._kernels import scatter
from ._scheme import level_lags
from ._sparsify import words_of
from ._workers import Workers

Slots = NDArray[np.int64]

# Levels that events are correlated in; above, sums of 32 frames come with all pixels.
LOW_LEVELS = 5
# With more delays a level, two events that meet may lie too far apart.
MOST_DELAYS = 32
# Lit pixels, as a part of the used ones, up to which events go through the low levels as they are. Once this
# is done, up to LEAVE: who changes at every block pays for it.
ENTER, LEAVE = 0.035, 0.045
# The same for dense frames, which must be searched for lit pixels first.
LIT = 0.012
# Frames of events that are decided on together, and taken through the low levels: each block reads and writes
# all sums. Smaller batches are gathered until there are so many, or so many words (of 8 bytes).
BLOCK = 7680
MOST_WORDS = 1 << 24
# Frames without a gap that are a block of their own; what lies between such goes with all pixels.
LONG_RUN = 512
# Frames of a rare dtype are converted so many at a time.
CONVERTED = 64


class Levels:
    """Correlates frames and events, in any order.

    Events of frames without a gap, few enough, go through the low levels as events (`EventLevels`); anything
    else goes through all levels with all pixels (`DenseLevels`). The change is possible wherever the last
    frames that still find partners are known as events, and where no frame came before: their sums over all
    frames are the same, and so is every result, bit for bit.

    Parameters
    ----------
    pixels
        Shape (npix,): the used pixels (row-major), increasing.
    shape
        (ny, nx) of the detector.
    """

    def __init__(
        self,
        pixels: NDArray[np.int64],
        shape: tuple[int, int],
        delays_per_level: int,
        first_lag: int,
        workers: Workers,
    ) -> None:
        self._pixels, self._shape, self._workers = pixels, shape, workers
        self._delays_per_level, self._first_lag = delays_per_level, first_lag
        self._places = np.full(shape[0] * shape[1], -1, np.int32)
        self._places[pixels] = np.arange(len(pixels))
        self.dense = DenseLevels(pixels, delays_per_level, first_lag, workers)
        self._events: EventLevels | None = None
        self._sparse = False
        self._next = 0
        self._gather = EventGather(BLOCK, MOST_WORDS)
        # The last frames as events, when they came without a gap and `_sparse` is False.
        self._kept: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        # The first frames as events, which find no earlier partner, until the dense levels know of them.
        self._first: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        # Of the last time when the dense levels knew all: each pixel's counts that came as events.
        self._known_totals = np.zeros(len(pixels), np.uint32)

    def push_frames(self, slots: Slots, flat: NDArray[Any]) -> None:
        """Add frames (n, ny * nx) of any integer dtype; no count of a used pixel is negative."""
        for start in range(0, len(slots), CHUNK):
            self._push_chunk(slots[start : start + CHUNK], flat[start : start + CHUNK])

    def _push_chunk(self, slots: Slots, flat: NDArray[Any]) -> None:
        if slots[-1] - self._expected == len(slots) - 1 and np.count_nonzero(flat[0]) <= LIT * flat.shape[1]:
            frames = FrameBatch(frames=flat.reshape(len(flat), *self._shape), indices=slots)
            events = words_of(frames, LIT, self._workers)
            if events is not None:
                self.push_events(slots, events.words, events.offsets)
                return
        self._flush()
        self._leave()
        self._kept.clear()
        rare = flat.dtype.itemsize > 4 or not flat.dtype.isnative
        size = CONVERTED if rare else CHUNK
        for number, counts in enumerate(unsigned_chunks(flat, size)):
            rows = counts if counts.itemsize <= 4 else counts.astype(np.uint32)
            self.dense.push_frames(slots[number * size :][: len(rows)], rows)
        self._next = int(slots[-1]) + 1

    def push_events(self, slots: Slots, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Add frames as events; every pixel lies in the image."""
        while len(slots):
            n = min(BLOCK - len(self._gather), len(slots))
            if n == BLOCK:
                self._push_runs(slots[:n], words, offsets[: n + 1])
            else:
                self._gather.add(slots[:n], words, offsets[: n + 1])
                if len(self._gather) == BLOCK or self._gather.words >= MOST_WORDS:
                    self._flush()
            slots, offsets = slots[n:], offsets[n:]

    def _flush(self) -> None:
        """Add the frames that were gathered."""
        if len(self._gather):
            self._push_runs(*self._gather.take())

    @property
    def _expected(self) -> int:
        """The frame that follows all others, the gathered ones too."""
        return self._gather.last + 1 if len(self._gather) else self._next

    def _push_runs(self, slots: Slots, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Add frames as events: long runs without a gap one by one, what lies between them together."""
        for begin, end in _runs(slots):
            self._push_block(slots[begin:end], words, offsets[begin : end + 1])

    def _push_block(self, slots: Slots, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Add frames as events: those that come first with all pixels, until the change is possible."""
        most = (LEAVE if self._sparse else ENTER) * len(slots) * len(self._pixels)
        if slots[0] != self._next:
            self._leave()
            self._kept.clear()
        if not self._may_be_sparse(slots) or offsets[-1] - offsets[0] > most:
            self._leave()
            self._kept.clear()
            self._spread(slots, words, offsets)
            return
        if not self._sparse:
            n = self._enter(slots, words, offsets)
            slots, offsets = slots[n:], offsets[n:]
        if len(slots) and self._events is not None:
            if slots[0] < self._first_frames:
                self._first.append(_copied(words, offsets[: self._first_frames - int(slots[0]) + 1]))
            level_slots, rows = self._events.push(int(slots[0]), words, offsets)
            self.dense.push_rows(LOW_LEVELS, level_slots, rows)
            self._next = int(slots[-1]) + 1

    def _may_be_sparse(self, slots: Slots) -> bool:
        return self._delays_per_level <= MOST_DELAYS and bool(slots[-1] - slots[0] == len(slots) - 1)

    def _enter(self, slots: Slots, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> int:
        """Change to events as soon as the frames before are known as such; how many were taken till then."""
        events = self._events or self._new_events()
        known = sum(len(of_kept) - 1 for _, of_kept in self._kept)
        needed = events.reach if slots[0] else 0
        n = min(max(needed - known, 0), len(slots))
        if n:
            self._spread(slots[:n], words, offsets[: n + 1])
            self._kept.append(_copied(words, offsets[: n + 1]))
        if known + n >= needed:
            events.start_from(self._next, *_joined(self._kept))
            self._events, self._sparse = events, True
            self._known_totals = events.totals()
            self._kept.clear()
        return n

    @property
    def _first_frames(self) -> int:
        """How many frames at the beginning may lack a partner in a low level."""
        return 2 * self._delays_per_level << LOW_LEVELS - 1

    def _new_events(self) -> EventLevels:
        lags = [level_lags(level, self._delays_per_level, self._first_lag) for level in range(LOW_LEVELS)]
        return EventLevels(self._pixels, len(self._places), lags, self._workers)

    def _spread(self, slots: Slots, words: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Add frames that come as events with all their pixels."""
        batch = EventBatch(words=words, offsets=offsets, indices=slots, shape=self._shape)
        for start, rows in spread_events(batch, self._places, len(self._pixels), self._workers):
            self.dense.push_rows(0, slots[start : start + len(rows)], rows)
        self._next = int(slots[-1]) + 1

    def _leave(self) -> None:
        """Change to dense frames."""
        self._update_dense()
        self._first.clear()
        self._sparse = False

    def update(self) -> None:
        """Have the dense levels know of all frames, but for the products that the event levels hold."""
        self._flush()
        self._update_dense()

    def _update_dense(self) -> None:
        if not self._sparse or self._events is None:
            return
        totals = self._events.totals()
        self.dense.adopt(self._next, self._events.last_rows, LOW_LEVELS, totals - self._known_totals)
        self._known_totals = totals
        if self._first:
            self._note_first()

    def _note_first(self) -> None:
        words, offsets = _joined(self._first)
        counts, known = np.zeros(len(self._pixels), np.uint32), 0

        def counts_before(frame: int) -> NDArray[np.uint32]:
            nonlocal known
            scatter(words, offsets[[known, frame]], self._places, counts[np.newaxis], np.iinfo(np.uint32).max)
            known = frame
            return counts

        self.dense.note_first(LOW_LEVELS, counts_before)
        if self._next >= self._first_frames:
            self._first.clear()

    def event_products(self) -> NDArray[np.unsignedinteger]:
        """Shape (n, places): the sums of products that the event levels hold, of the first n rows of sums."""
        if self._events is None:
            return np.zeros((0, 0), np.uint32)
        return self._events.products(self.dense.places)


def _runs(slots: Slots) -> Iterator[tuple[int, int]]:
    """(begin, end) of the long runs of slots without a gap, and of what lies between them."""
    done = 0
    for begin, end in pairwise([0, *(np.flatnonzero(np.diff(slots) != 1) + 1).tolist(), len(slots)]):
        if end - begin >= LONG_RUN:
            if done < begin:
                yield done, begin
            yield begin, end
            done = end
    if done < len(slots):
        yield done, len(slots)


def _copied(
    words: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    return words[offsets[0] : offsets[-1]].copy(), offsets - offsets[0]


def _joined(
    parts: list[tuple[NDArray[np.uint64], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    ends = np.cumsum([0, *(len(words) for words, _ in parts)])
    offsets = [offsets[1:] + begin for (_, offsets), begin in zip(parts, ends[:-1], strict=True)]
    words = np.concatenate([np.zeros(0, np.uint64), *(words for words, _ in parts)])
    return words, np.concatenate([[0], *offsets]).astype(np.int64)
