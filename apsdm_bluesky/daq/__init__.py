"""Files that detectors write themselves: watched, copied, hashed, handed to catalogue and archive."""

from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq, Notice
from ._daqs import Daqs, DaqTable, check_end, new_daq
from ._report import PROBLEMS, DaqReport, counts_text, not_taken, seen
from ._store import ACTIVE, DaqStore, open_daqs

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
    "seen",
]
