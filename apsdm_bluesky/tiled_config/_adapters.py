"""Frames that are stored as events, served as the array that they are, and as a sparse one."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import sparse
from fastapi import HTTPException
from numpy.typing import NDArray
from tiled.adapters.core import Adapter
from tiled.ndslice import NDBlock, NDSlice
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import EventStore

if TYPE_CHECKING:
    from collections.abc import Sequence

# Tiled refuses larger answers by default, but only after they were made.
LARGEST_ANSWER = 300_000_000
_MOST_ROWS = 1_000_000  # each costs time, dark ones too


class _EventsAdapter(Adapter):
    """An array (n, ny, nx) in an event store, of which only the frames that are asked for are read.

    Files that are missing, damaged or not what was registered are an error of the request (HTTP 500); an
    answer of more than 300 MB is refused (400).
    """

    structure_family: ClassVar[StructureFamily]

    def __init__(self, store: Any, structure: Any, **kwargs: Any) -> None:
        shape, dtype = tuple(structure.shape), structure.data_type.to_numpy_dtype()
        if dtype != store.dtype or shape[1:] != store.shape[1:] or shape[0] > store.shape[0]:
            raise FormatError(f"registered is {shape} {dtype}, stored is {store.shape} {store.dtype}")
        self._store = store
        super().__init__(structure, **kwargs)

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /) -> Self:
        """The adapter of a node of the catalogue; Tiled has checked that its file may be read."""
        try:
            (asset,) = data_source.assets
            store = EventStore(path_from_uri(asset.data_uri))
            return cls(store, data_source.structure, metadata=node.metadata_, specs=node.specs)
        except (FormatError, ValueError) as error:
            raise unreadable(error) from error

    @property
    def dims(self) -> tuple[str, ...] | None:
        """Names of the dimensions."""
        dims: tuple[str, ...] | None = self.structure().dims
        return dims

    def read(self, slice: NDSlice = NDSlice(...)) -> Any:  # noqa: A002, B008 - Tiled's protocol
        """Some of the array."""
        first, *inside = slice.expand_for_shape(self._shape)
        one = isinstance(first, int)
        rows = range(first, first + 1) if one else range(self._shape[0])[first]
        if len(rows) > _MOST_ROWS:
            raise too_large()
        try:
            answer = self._frames(rows, inside)
        except FormatError as error:
            raise unreadable(error) from error
        return answer[0] if one else answer

    def read_block(self, block: NDBlock, slice: NDSlice = NDSlice(...)) -> Any:  # noqa: A002, B008
        """Some of a block of the array."""
        part = block.slice_from_chunks(self.structure().chunks).expand_for_shape(self._shape)
        return self.read(part[slice] if slice else part)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.structure().shape)

    def _frames(self, rows: range, inside: "Sequence[Any]") -> Any:
        """Those rows, and of each of them a part."""
        raise NotImplementedError


class EventFramesAdapter(_EventsAdapter):
    """As images."""

    structure_family = StructureFamily.array

    def _frames(self, rows: range, inside: "Sequence[Any]") -> NDArray[Any]:
        shape = (len(rows), *NDSlice(*inside).shape_after_slice(self._shape[1:]))
        if np.prod(shape, dtype=float) * self._store.dtype.itemsize > LARGEST_ANSWER:
            raise too_large()
        answer = np.empty(shape, self._store.dtype)
        if not answer.size:
            return answer
        for place, frame in enumerate(self._store.frames(rows)):
            answer[place] = frame[tuple(inside)]
        return answer


class EventCoordinatesAdapter(_EventsAdapter):
    """As coordinates and counts (COO)."""

    structure_family = StructureFamily.sparse

    def _frames(self, rows: range, inside: "Sequence[Any]") -> sparse.COO:
        ny, nx = self._shape[1:]
        if 0 in NDSlice(*inside).shape_after_slice((ny, nx)):
            return sparse.COO(np.empty((3, 0), int), np.empty(0, self._store.dtype), (len(rows), ny, nx))[
                (..., *inside)
            ]
        frames = []
        words = 0
        for events in self._store.events(rows):
            words += len(events)
            if words * 32 > LARGEST_ANSWER:  # three coordinates and a count
                raise too_large()
            frames.append(events.copy())
        coordinates, values = self._store.coordinates(frames)
        answer = sparse.COO(coordinates, values, shape=(len(rows), ny, nx))
        return answer[(..., *inside)]


def unreadable(error: Exception) -> HTTPException:
    """What to answer where files are not what they should be."""
    return HTTPException(500, f"these data cannot be read: {error}")


def too_large() -> HTTPException:
    """What to answer to whom asks for too much."""
    return HTTPException(
        400, "the answer would have more than 300 MB or a million frames; ask for less at once"
    )
