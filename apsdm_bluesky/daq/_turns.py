"""A queue in which every owner has its turn: who has few things does not wait behind who has many."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Things by whose they are, given out in turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[object, deque[T]] = OrderedDict()
        self._changed = threading.Condition()

    def put(self, owner: object, thing: T) -> None:
        """Append to the owner's own."""
        with self._changed:
            self._queues.setdefault(owner, deque()).append(thing)
            self._changed.notify()

    def get_some(self, fits: Callable[[T], bool]) -> list[T]:
        """The first things of the owner whose turn it is, as soon as there are any.

        Parameters
        ----------
        fits
            Asked of each in turn, whether it goes with those before; the first one always goes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queues)
            owner, waiting = self._queues.popitem(last=False)
            given = [waiting.popleft()]
            fits(given[0])
            while waiting and fits(waiting[0]):
                given.append(waiting.popleft())
            if waiting:
                self._queues[owner] = waiting
            return given

    def drop(self, owner: object) -> list[T]:
        """Take back what the owner has put and nobody got."""
        with self._changed:
            return list(self._queues.pop(owner, ()))
