"""How often a password may be tried."""

import time
from collections import deque
from collections.abc import Callable, Hashable

_WINDOW_S = 300.0
# Wrong passwords within the window: for a name from one address, for a name from anywhere (an address can be forged
# through a proxy), and from one address, which a whole control room may share.
_LIMITS = {"pair": 5, "name": 50, "address": 50}
_LARGEST = 10_000


class Throttle:
    """Counts attempts in the last 5 minutes. Used by one thread; keeps at most 10 000 names and addresses.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[Hashable, deque[float]] = {}

    def attempt(self, name: str, address: str) -> float:
        """0: the password may be tried, and that counts. Else the seconds to wait [s].

        It counts before the password is looked at: a hundred attempts at once are a hundred.
        """
        now = self._clock()
        self._forget(now)
        tried = [(kind, self._attempts.setdefault(key, deque())) for kind, key in _keys(name, address)]
        wait = max(self._wait(times, _LIMITS[kind], now) for kind, times in tried)
        if wait == 0:
            for _, times in tried:
                times.append(now)
        return wait

    def succeeded(self, name: str, address: str) -> None:
        """The last attempt was no guess: it counts no more, nor do slips of the same person there."""
        for kind, key in _keys(name, address):
            times = self._attempts.get(key)
            if times and kind == "pair":
                times.clear()
            elif times:
                times.pop()

    def _wait(self, times: deque[float], limit: int, now: float) -> float:
        while times and times[0] <= now - _WINDOW_S:
            times.popleft()
        return times[-limit] + _WINDOW_S - now if len(times) >= limit else 0.0

    def _forget(self, now: float) -> None:
        if len(self._attempts) < _LARGEST:
            return
        self._attempts = {key: times for key, times in self._attempts.items() if times and times[-1] > now - _WINDOW_S}
        # Of whom little is known is forgotten first: many addresses do not hide a name that is being guessed at.
        fewest = sorted(self._attempts, key=lambda key: len(self._attempts[key]))
        for key in fewest[: max(0, len(fewest) - _LARGEST // 2)]:
            del self._attempts[key]


def _keys(name: str, address: str) -> list[tuple[str, Hashable]]:
    return [("pair", (name, address)), ("name", (name,)), ("address", address)]
