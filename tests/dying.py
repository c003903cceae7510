"""Processes that are killed, as by kill -9, when they are about to do their n-th durable step."""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any


def die_at(step: int, *steps: tuple[Any, Sequence[str]], after: bool = False) -> None:
    """Kill this process at its n-th call of any of these.

    Parameters
    ----------
    steps
        What has the functions, and their names.
    after
        Whether the end of a call counts as well.
    """
    count = 0

    def reached() -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            reached()
            result = function(*args, **kwargs)
            if after:
                reached()
            return result

        return wrapper

    for owner, names in steps:
        for name in names:
            setattr(owner, name, dying(getattr(owner, name)))
