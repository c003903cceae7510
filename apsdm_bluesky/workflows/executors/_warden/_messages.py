"""What the executor and the warden tell each other."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a warden runs its tasks.

    Parameters
    ----------
    folder
        Of the executor; holds the lock.
    parent
        The executor's process.
    parallel
        Tasks at once.
    memory_bytes
        What a task and all that it started may hold in memory at once; None: all there is.
    cpus
        Processors of each task; None: all there are.
    output_bytes
        What a task may write to its standard output and error together.
    grace_s
        Seconds between SIGTERM and SIGKILL.
    mark
        Stands in the environment of all processes of tasks; after a crash they are found by it.
    """

    folder: str
    parent: int
    parallel: int
    memory_bytes: int | None
    cpus: int | None
    output_bytes: int
    grace_s: float
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One task to run.

    Parameters
    ----------
    stopped
        It was stopped before it began: only its end is to be recorded.
    cpus
        The numbers of its processors; none: it may use all.
    """

    id: str
    command: list[str]
    environment: Mapping[str, str]
    folder: str
    work: str
    timeout_s: float | None
    stopped: bool = False
    cpus: tuple[int, ...] = field(default=())

    @property
    def path(self) -> Path:
        """The task's folder."""
        return Path(self.folder)


def tell(**message: Any) -> None:
    """Say a line to the executor, in one write that is short enough for a pipe not to mix it with others."""
    with suppress(BrokenPipeError):  # it is gone; the end of stdin says so too
        os.write(1, json.dumps(message).encode() + b"\n")
