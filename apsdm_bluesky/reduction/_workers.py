"""Who runs the compiled loops: this thread, or several that somebody else owns."""

from collections.abc import Callable
from typing import Protocol


class Workers(Protocol):
    """Runs the parts of a task side by side. The room has no threads of its own: its callers bring them."""

    @property
    def threads(self) -> int:
        """How many parts can run at a time: into at least so many should a task be cut."""

    def run(self, task: Callable[[int], None], parts: int) -> None:
        """Call ``task(0)`` ... ``task(parts - 1)``, in any order; return when all have ended.

        Raises
        ------
        Exception
            What the first part that failed has raised, when all have ended.
        """


class OneThread:
    """One part after the other, in the caller's thread."""

    threads = 1

    def run(self, task: Callable[[int], None], parts: int) -> None:
        """Call the parts in order."""
        for part in range(parts):
            task(part)
