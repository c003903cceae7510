"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable


def wait_for(predicate: Callable[[], object], timeout: float = 30.0, message: str = "the condition") -> None:
    """Return when `predicate()` is true; fail with `message` when it is not by `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{message} did not become true within {timeout} s")
        time.sleep(0.02)
