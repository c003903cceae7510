"""Files that detectors write themselves: watched, copied, hashed, handed to catalogue and archive."""

from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq, Notice
from ._store import ACTIVE, DaqStore, open_daqs

__all__ = [
    "ACTIVE",
    "Counts",
    "Daq",
    "DaqFile",
    "DaqOptions",
    "DaqState",
    "DaqStore",
    "FileState",
    "Kind",
    "NewDaq",
    "Notice",
    "open_daqs",
]
