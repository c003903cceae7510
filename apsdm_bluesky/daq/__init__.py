"""Files that detectors write themselves: watched, copied, hashed, handed to catalogue and archive.

`run_documents` loads the file formats: it is loaded late, as what copies files must start quickly.
"""

from typing import TYPE_CHECKING, Any

from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq, Notice
from ._daqs import Daqs, DaqTable, check_end, new_daq
from ._report import PROBLEMS, DaqReport, counts_text, not_taken, seen
from ._store import ACTIVE, DaqStore, open_daqs

if TYPE_CHECKING:
    from ._documents import run_documents

__all__ = [
    "ACTIVE",
    "PROBLEMS",
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
    "Kind",
    "NewDaq",
    "Notice",
    "check_end",
    "counts_text",
    "new_daq",
    "not_taken",
    "open_daqs",
    "run_documents",
    "seen",
]


def __getattr__(name: str) -> Any:
    if name != "run_documents":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._documents import run_documents

    return run_documents
