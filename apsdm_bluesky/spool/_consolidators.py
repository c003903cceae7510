"""How TiledWriter registers what is ours among external data."""

from typing import Any

from bluesky_tiled_plugins.writing.consolidators import CONSOLIDATOR_REGISTRY, ConsolidatorBase
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import DataSource
from tiled.structures.sparse import COOStructure

SPARSE_EVENTS = "application/x-zarr;structure=sparse"


class SparseEventsConsolidator(ConsolidatorBase):
    """Events as a sparse array, of the same shape and chunks as the images."""

    supported_mimetypes = frozenset({SPARSE_EVENTS})

    def get_data_source(self) -> DataSource:
        """The array as it stands, for Tiled."""
        source = super().get_data_source()
        dense: Any = source.structure
        source.structure_family = StructureFamily.sparse
        source.structure = COOStructure(
            shape=dense.shape, chunks=dense.chunks, data_type=dense.data_type, dims=dense.dims
        )
        return source


def register_consolidators() -> None:
    """Make TiledWriter know them; images in an event store need none of their own."""
    CONSOLIDATOR_REGISTRY[SPARSE_EVENTS] = SparseEventsConsolidator
