"""What runs the processes of stages: one protocol, and its implementations."""

from ._protocol import Blame, Ended, Executor, Lost, Report, Running, Task, Waiting

__all__ = ["Blame", "Ended", "Executor", "Lost", "Report", "Running", "Task", "Waiting"]
