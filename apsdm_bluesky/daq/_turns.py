"""A queue in which every owner has its turn: who has few files does not wait behind who has many."""

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Things by whose they are, given out in turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[object, deque[T]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, owner: object, thing: T) -> None:
        """Append to the owner's own."""
        with self._changed:
            self._queues.setdefault(owner, deque()).append(thing)
            self._changed.notify()

    def get(self) -> T | None:
        """The first of the owner whose turn it is, as soon as there is one; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._queues)
            if self._closed:
                return None
            owner, things = self._queues.popitem(last=False)
            thing = things.popleft()
            if things:
                self._queues[owner] = things
            return thing

    def drop(self, owner: object) -> list[T]:
        """Take back what the owner has put and nobody got."""
        with self._changed:
            return list(self._queues.pop(owner, ()))

    def close(self) -> None:
        """Nothing is given out any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
