"""How often a task is asked for: often at first, then less and less."""

import time
from typing import Generic, TypeVar

_SHARE = 0.1  # of the time that the task is known
_SHORTEST_S = 0.1
_LONGEST_S = 30.0

Told = TypeVar("Told")


class PollPace(Generic[Told]):
    """The last report of each task, good for a tenth of the time that the task is known, at most 30 s.

    The agent asks twice a second for every record; the service is not to be asked as often for hours.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._last: dict[str, tuple[float, Told]] = {}

    def last(self, task_id: str) -> Told | None:
        """The last report where it is still good."""
        until, report = self._last.get(task_id, (0.0, None))
        return report if time.monotonic() < until else None

    def keep(self, task_id: str, report: Told) -> Told:
        """Keep the report of a task that goes on; returns it."""
        now = time.monotonic()
        age = now - self._since.setdefault(task_id, now)
        self._last[task_id] = (now + min(max(_SHARE * age, _SHORTEST_S), _LONGEST_S), report)
        return report

    def forget(self, task_id: str) -> None:
        """The task ended, or something was done to it."""
        self._since.pop(task_id, None)
        self._last.pop(task_id, None)
