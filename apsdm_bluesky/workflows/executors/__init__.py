"""What runs the processes of stages: one protocol, and its implementations."""

from ._advice import TAIL_BYTES, Cut, Ending, advise
from ._globus_compute import GlobusCompute
from ._globus_compute_service import log_in_compute
from ._local import LocalProcesses
from ._protocol import Blame, Ended, Executor, Lost, Report, Running, Task, Waiting

__all__ = [
    "TAIL_BYTES",
    "Blame",
    "Cut",
    "Ended",
    "Ending",
    "Executor",
    "GlobusCompute",
    "LocalProcesses",
    "Lost",
    "Report",
    "Running",
    "Task",
    "Waiting",
    "advise",
    "log_in_compute",
]
