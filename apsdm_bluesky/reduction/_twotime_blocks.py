"""Rows of counts packed for products of all pairs: bit-planes of low counts, events of what is above them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._twotime_kernels import (
    MAX_EVENT_COUNT,
    ROW_BITS,
    TOPS,
    Counts,
    Events,
    Words,
    list_row,
    pack_row,
    survey_row,
)
from ._twotime_pairs import add_common_bits, add_shared_events
from ._workers import Workers

Range = tuple[int, int]
Sums = NDArray[np.uint64]

# A block's rows are numbered in the bits of an event, and counted in 8 bits, in fours.
_BLOCK = 2**ROW_BITS - 4
_WORD = 64
# Processor cycles, about: for a pair of words; for a pair of events; for two columns of lists that meet;
# for a product in a float32 matrix product.
_PAIR_OF_WORDS, _PAIR_OF_EVENTS, _PAIR_OF_LISTS, _PRODUCT = 0.3, 4.0, 10.0, 1 / 32
# Bytes that a packed block may take, of its rows'.
_PACKED_BYTES = 1.25


def cut_rows(n: int) -> list[Range]:
    """Blocks of rows of about the same size."""
    number = -(-n // _BLOCK)
    size = -(-n // max(number, 1) // 4) * 4
    return [(start, min(start + size, n)) for start in range(0, n, size)] if n else []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """What rows hold.

    Parameters
    ----------
    highest
        The highest count.
    above
        Shape (nblocks, 4, ncolumns): in how many rows of a block a column has more than ``TOPS[t]`` counts.
    sums
        Shape (m, n): of each range of columns and row.
    """

    blocks: list[Range]
    highest: int
    above: NDArray[np.uint8]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, rows: list[Counts], columns: NDArray[np.int64], workers: Workers) -> "Survey":
        """Look at every count once; columns (m + 1,): where ranges begin, and the last ends."""
        blocks = cut_rows(len(rows))
        above = np.zeros((len(blocks), len(TOPS), int(columns[-1])), np.uint8)
        sums = np.empty((len(rows), len(columns) - 1))
        highest = np.zeros(len(rows), np.int64)

        def look(part: int) -> None:
            for i in range(*blocks[part]):
                highest[i] = survey_row(rows[i], columns, above[part], sums[i])

        workers.run(look, len(blocks))
        return cls(blocks=blocks, highest=int(highest.max()), above=above, sums=np.ascontiguousarray(sums.T))

    def best_planes(self) -> int | None:
        """How many planes are the fastest, with the rest as events; None: matrix products are.

        Only what gives exact products in float64 and fits its memory.
        """
        if self.highest > MAX_EVENT_COUNT or float(self.sums.max()) * self.highest >= 2.0**53:
            return None
        n, ncolumns = self.blocks[-1][1], self.above.shape[2]
        filled = sum(above.astype(np.uint32) for above in self.above).astype(np.float64)
        costs: dict[int | None, float] = {None: n**2 * ncolumns * _PRODUCT}
        for planes, top in enumerate(TOPS):
            stored, cost = (
                planes * n * ncolumns / 8,
                n**2 * ncolumns / (2 * _WORD) * planes**2 * _PAIR_OF_WORDS,
            )
            if top < self.highest:
                stored += 4 * float(filled[0].sum() + filled[planes].sum() * (planes > 0))
                cost += float(filled[planes] @ filled[0]) * _PAIR_OF_EVENTS
                cost += len(self.blocks) ** 2 * ncolumns * _PAIR_OF_LISTS
            if stored <= _PACKED_BYTES * n * ncolumns:
                costs[planes] = cost
        return min(costs, key=lambda planes: costs[planes])


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """Events of a block, by column: those of c are ``events[starts[c]:starts[c + 1]]``."""

    starts: NDArray[np.int32]
    events: Events

    @classmethod
    def empty(cls, lengths: NDArray[Any]) -> "_Lists":
        starts = np.append(0, np.cumsum(lengths, dtype=np.int32)).astype(np.int32)
        return cls(starts, np.empty(int(starts[-1]), np.uint32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """Rows as x = m + e: m in planes (p, rows, nwords), up to a highest count; events of x and of e."""

    planes: Words
    whole: _Lists | None
    extra: _Lists | None


class Packed:
    """Rows, ready for products.

    A count x is m + e: m, up to the highest that `planes` bit-planes hold, is in the planes; e is in lists.
    Then ``sum x y`` is the common bits of the planes, weighted by their values, and e of each row times the
    events of the other: all of the other's counts once, and the other's m once, so that e e is in it once.
    """

    def __init__(self, rows: list[Counts], survey: Survey, planes: int, workers: Workers) -> None:
        self._top = TOPS[planes]
        self._blocks: list[Any] = [None] * len(survey.blocks)

        def pack(part: int) -> None:
            some = rows[slice(*survey.blocks[part])]
            above = survey.above[part]
            self._blocks[part] = _pack(some, above, planes, self._top < survey.highest)

        workers.run(pack, len(survey.blocks))

    def multiply(self, first: int, second: int, columns: Range) -> Sums:
        """Sums over a range of columns of the products of the rows of two blocks, exact."""
        a, b = self._blocks[first], self._blocks[second]
        out = np.zeros((a.planes.shape[1], b.planes.shape[1]), np.uint64)
        words = (columns[0] // _WORD, columns[1] // _WORD)
        for p, of_a in enumerate(a.planes):
            for q, of_b in enumerate(b.planes):
                add_common_bits(of_a, of_b, words, p + q, out)
        if a.extra is not None:
            _add_extras(a.extra, b.whole, columns, MAX_EVENT_COUNT, out)
            if self._top:
                crossed = np.zeros(out.shape[::-1], np.uint64)
                _add_extras(b.extra, a.whole, columns, self._top, crossed)
                out += crossed.T
        return out


def _add_extras(extra: _Lists, other: _Lists, columns: Range, top: int, out: Sums) -> None:
    add_shared_events(extra.starts, extra.events, other.starts, other.events, columns, top, out)


def _pack(rows: list[Counts], above: NDArray[np.uint8], planes: int, listed: bool) -> _Block:
    top, nwords = TOPS[planes], above.shape[1] // _WORD
    packed = np.zeros((max(planes, 1), -(-len(rows) // 4) * 4, nwords), np.uint64)
    lit = np.empty(nwords, np.uint64)
    whole = _Lists.empty(above[0]) if listed else None
    extra = whole if not planes else _Lists.empty(above[planes]) if listed else None
    ends = [lists.starts[:-1].copy() for lists in (whole, extra) if lists is not None]
    # Without planes the extras are the counts themselves, which are listed once.
    limit = top if planes else MAX_EVENT_COUNT
    for i, row in enumerate(rows):
        pack_row(row, max(top, 1), packed[:, i], lit)
        if whole is not None and extra is not None:
            list_row(row, i, lit, limit, ends[0], whole.events, ends[1], extra.events)
    return _Block(planes=packed[:planes], whole=whole, extra=extra)
