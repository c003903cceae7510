"""Put messages that several consumers deliver back into their order. Pure."""

from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReorderWindow(Generic[Item]):
    """Holds what came early until what is before it has come, or is given up.

    Parameters
    ----------
    first
        The number that is to come first.
    """

    def __init__(self, *, first: int) -> None:
        self._next = first
        self._held: dict[int, list[Item]] = {}

    def __len__(self) -> int:
        """Numbers that are held."""
        return len(self._held)

    def push(self, number: int, item: Item) -> list[Item]:
        """Take an item; returns what may go on now, in order.

        One whose number was released or given up before goes on at once; one whose number is held already
        follows the other.
        """
        if number < self._next:
            return [item]
        self._held.setdefault(number, []).append(item)
        return self._run()

    def give_up(self, end: int) -> list[Item]:
        """What is missing below `end` does not come any more; returns what may go on now, in order."""
        if end <= self._next:
            return []
        passed = sorted(number for number in self._held if number < end)
        self._next = end
        return [item for number in passed for item in self._held.pop(number)] + self._run()

    @property
    def lowest(self) -> int | None:
        """The lowest number that is held."""
        return min(self._held, default=None)

    def flush(self) -> list[Item]:
        """Everything that is held, in order; what is missing is given up."""
        return self.give_up(max(self._held) + 1) if self._held else []

    def _run(self) -> list[Item]:
        released = []
        while items := self._held.pop(self._next, None):
            released += items
            self._next += 1
        return released
