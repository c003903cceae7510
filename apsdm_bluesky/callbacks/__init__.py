"""Callbacks for the RunEngine: what happens to its documents while it runs."""

from ._catalog_writer import CatalogWriter
from ._globus_archiver import GlobusArchiver
from ._imported_result import emit_imported_result
from ._series_analysis import SeriesAnalysis
from ._stream_reducer import StreamReducer
from ._workflow_trigger import WorkflowTrigger

__all__ = [
    "CatalogWriter",
    "GlobusArchiver",
    "SeriesAnalysis",
    "StreamReducer",
    "WorkflowTrigger",
    "emit_imported_result",
]
