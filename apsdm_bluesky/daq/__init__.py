"""Files that detectors write themselves: watched, copied, hashed, handed to catalogue and archive.

`Handover` and `run_documents` bring the spool: they are loaded late, so that what copies starts fast.
"""

from typing import TYPE_CHECKING, Any

from ._batches import Batch, BatchStore
from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq, Notice
from ._daqs import Daqs, DaqTable, check_end, new_daq
from ._report import PROBLEMS, DaqReport, counts_text, not_taken, seen
from ._settings import Settings
from ._store import ACTIVE, DaqStore, open_daqs
from ._wants import Wants
from ._work import WorkStore

if TYPE_CHECKING:
    from ._documents import run_documents
    from ._handover import Handover

__all__ = [
    "ACTIVE",
    "PROBLEMS",
    "Batch",
    "BatchStore",
    "Counts",
    "Daq",
    "DaqFile",
    "DaqOptions",
    "DaqReport",
    "DaqState",
    "DaqStore",
    "DaqTable",
    "Daqs",
    "FileState",
    "Handover",
    "Kind",
    "NewDaq",
    "Notice",
    "Settings",
    "Wants",
    "WorkStore",
    "check_end",
    "counts_text",
    "new_daq",
    "not_taken",
    "open_daqs",
    "run_documents",
    "seen",
]


def __getattr__(name: str) -> Any:
    if name == "Handover":
        from ._handover import Handover

        return Handover
    if name == "run_documents":
        from ._documents import run_documents

        return run_documents
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
