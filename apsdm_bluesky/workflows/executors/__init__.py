"""What runs the processes of stages: one protocol, and its implementations."""

from ._globus_compute import GlobusCompute
from ._globus_compute_service import log_in_compute
from ._protocol import Blame, Ended, Executor, Lost, Report, Running, Task, Waiting

__all__ = [
    "Blame",
    "Ended",
    "Executor",
    "GlobusCompute",
    "Lost",
    "Report",
    "Running",
    "Task",
    "Waiting",
    "log_in_compute",
]
