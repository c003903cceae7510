"""Files that detectors write themselves: watched, copied, hashed, handed to catalogue and archive."""

from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq, Notice

__all__ = [
    "Counts",
    "Daq",
    "DaqFile",
    "DaqOptions",
    "DaqState",
    "FileState",
    "Kind",
    "NewDaq",
    "Notice",
]
