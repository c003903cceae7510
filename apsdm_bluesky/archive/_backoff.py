"""How long a record that met trouble is left alone."""

import time

_FIRST_S = 0.1
_LONGEST_S = 60.0


class Backoff:
    """Delays by key that double with each trouble. Kept in memory: a restarted agent tries at once."""

    def __init__(self) -> None:
        self._trouble: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def over(self, key: str) -> bool:
        """Whether `key` may be tried now."""
        return time.monotonic() >= self._until.get(key, 0.0)

    def delay(self, key: str) -> None:
        """`key` met trouble."""
        count = self._trouble[key] = self._trouble.get(key, 0) + 1
        self._until[key] = time.monotonic() + min(_FIRST_S * 2 ** min(count - 1, 10), _LONGEST_S)

    def reset(self, key: str) -> None:
        """`key` got on."""
        self._trouble.pop(key, None)
        self._until.pop(key, None)
