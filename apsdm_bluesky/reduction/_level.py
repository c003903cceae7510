"""One level of the multi-tau scheme: level l correlates sums of 2^l frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._kernels import add_products

Slots = NDArray[np.int64]
Rows = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSums:
    """Sums over the valid pairs (n, n + lag) of one level, in units of that level's frame sums.

    Parameters
    ----------
    pairs
        Number of valid pairs, M.
    products, past, future
        Shape (npix,): sums of x_n x_(n+lag) (uint64), of x_n and of x_(n+lag) (uint32).
    """

    pairs: int
    products: NDArray[np.uint64]
    past: NDArray[np.uint32]
    future: NDArray[np.uint32]


class Level:
    """Correlates a level's frames, which come in batches and may have gaps.

    A level frame has a slot: its absolute number in the level, so a gap is a slot that never comes. The sums
    of x_n and x_(n+lag) over pairs are not added up pair by pair: they are the total of all frames less those
    without a partner, which are few. 32 bits hold every sum of counts because the caller keeps each pixel's
    total below 2^32; a product sum is at most that total squared, so 64 bits hold it.
    """

    def __init__(self, lags: NDArray[np.int64], npix: int) -> None:
        self._lags = lags
        self._pairs = np.zeros(len(lags), np.int64)
        self._products = np.zeros((len(lags), npix), np.uint64)
        self._total = np.zeros(npix, np.uint32)
        # Sums of the frames whose later, and whose earlier, partner is known to be missing.
        self._no_later = np.zeros((len(lags), npix), np.uint32)
        self._no_earlier = np.zeros((len(lags), npix), np.uint32)
        # The frames that may still find a later partner.
        self._slots = np.zeros(0, np.int64)
        self._rows = np.zeros((0, npix), np.uint32)

    def push(self, slots: Slots, rows: Rows) -> tuple[Slots, Rows]:
        """Add frames and return those of the next level: sums of complete pairs (2j, 2j + 1), in slots j.

        Shapes: slots (n,), increasing; rows (n, npix).
        """
        known = len(self._slots)
        before = int(self._slots[-1]) if known else -1
        slots, rows = np.concatenate([self._slots, slots]), np.concatenate([self._rows, rows])
        self._total += rows[known:].sum(axis=0, dtype=np.uint32)
        self._correlate(slots, rows, known)
        self._note_missing(slots, rows, before)
        kept = slots > slots[-1] - self._lags[-1]
        self._slots, self._rows = slots[kept], rows[kept]
        return _pair_sums(slots, rows, known)

    def _correlate(self, slots: Slots, rows: Rows, known: int) -> None:
        """Add the products of the pairs whose later frame is new."""
        later, lag = np.divmod(
            np.arange(known * len(self._lags), len(slots) * len(self._lags)), len(self._lags)
        )
        earlier, found = _find(slots, slots[later] - self._lags[lag])
        add_products(rows, earlier[found], later[found], lag[found], self._products)
        self._pairs += np.bincount(lag[found], minlength=len(self._lags))
        for frame, j in zip(later[~found], lag[~found], strict=True):
            self._no_earlier[j] += rows[frame]

    def _note_missing(self, slots: Slots, rows: Rows, before: int) -> None:
        """Add up the frames whose later partner's slot has now been passed over."""
        for j, lag in enumerate(self._lags):
            wanted = slots + lag
            _, found = _find(slots, wanted)
            for frame in np.flatnonzero(~found & (wanted > before) & (wanted < slots[-1])):
                self._no_later[j] += rows[frame]

    def lag_sums(self, j: int) -> LagSums:
        """The sums of the j-th lag over the frames so far."""
        open_ended = self._rows[self._slots > self._slots[-1] - self._lags[j]].sum(axis=0, dtype=np.uint32)
        return LagSums(
            pairs=int(self._pairs[j]),
            products=self._products[j],
            past=self._total - self._no_later[j] - open_ended,
            future=self._total - self._no_earlier[j],
        )


def _find(slots: Slots, wanted: Slots) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the wanted slots stand in `slots` (increasing), and whether they are there."""
    where = np.minimum(np.searchsorted(slots, wanted), len(slots) - 1)
    return where, slots[where] == wanted


def _pair_sums(slots: Slots, rows: Rows, known: int) -> tuple[Slots, Rows]:
    """The next level's frames whose second half is one of the new frames, from `known` on."""
    second = np.arange(max(known, 1), len(slots))
    second = second[(slots[second] % 2 == 1) & (slots[second - 1] == slots[second] - 1)]
    return slots[second] // 2, rows[second - 1] + rows[second]
