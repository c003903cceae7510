"""The boundary to whatever runs a stage's processes: the messages, and what an implementation promises."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Blame(StrEnum):
    """Whose fault it is that something did not end well."""

    COMMAND = "command"
    """The user's command, its arguments or its input: trying again changes nothing."""
    SYSTEM = "system"
    """This machine or the one that it ran on: trying again may help."""
    NETWORK = "network"
    """What lies between them, an endpoint or a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One process that is to run: one attempt at one child of a stage.

    Parameters
    ----------
    id
        Of hexadecimal digits, never used for anything else. The same id is the same process.
    command
        The program and its arguments; no shell sees them.
    environment
        Added to the environment of the executor's processes.
    folder
        Absolute, of this task alone. The executor keeps in it what it needs to know after a restart, and
        `stdout` and `stderr`, which grow while the process runs.
    working_folder
        Where the process starts, absolute; None: `folder`/work, which the executor makes, empty.
    timeout_s
        Seconds after which the process and all that it started are killed; None: never.
    """

    id: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path
    working_folder: Path | None = None
    timeout_s: float | None = None

    @property
    def work(self) -> Path:
        """Where the process starts."""
        return self.working_folder or self.folder / "work"

    @property
    def stdout(self) -> Path:
        """The file of its standard output."""
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        """The file of its standard error."""
        return self.folder / "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The task was accepted, and does not run yet."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The process runs; times in seconds since the Unix epoch."""

    started: float
    host: str
    pid: int | None = None
    reason: str = ""
    """What stands in its way at present, as a network that is cut; '' where nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The process ended, and so did all that it started.

    Parameters
    ----------
    status
        Its exit status; the negative number of the signal that ended it; None where it never ran, or nobody
        knows.
    started, ended
        Seconds since the Unix epoch; `started` is None where it never ran.
    cpu_s
        Processor time of it and its children [s]; None where it is not known.
    memory
        The most that they held at once [bytes]; None where it is not known.
    blame
        None where it ended well: status 0, in time, within its limits.
    reason
        What went wrong and what to do, in one line; '' where it ended well.
    """

    status: int | None
    started: float | None
    ended: float
    host: str = ""
    pid: int | None = None
    cpu_s: float | None = None
    memory: int | None = None
    blame: Blame | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The task was started once, and its process is gone without a word: run it anew, as another task."""

    reason: str


Report = Waiting | Running | Ended | Lost


class Executor(Protocol):
    """Runs tasks. Every method may be called from any thread, and does not wait for a process.

    What is asked of it is asked again after a crash of this process, with the same task:

    - `start` of a task that was started once changes nothing, even by another executor object on the same
      folders: a task's process never runs twice.
    - When this process ends, however that happens, no local process of a task goes on; those of a remote
      machine may, and are found again.
    - A task that has ended keeps its report, as long as its folder stands.
    """

    def start(self, task: Task) -> None:
        """Have the process run.

        Raises
        ------
        ServiceError
            A remote machine does not answer; start it again later.
        StorageError
            The task's folder cannot be written.
        """

    def look(self, task: Task) -> Report | None:
        """What became of the task; None where it was never started.

        Raises
        ------
        ServiceError, StorageError
            That cannot be told now.
        """

    def stop(self, task: Task) -> None:
        """Have the process, and all that it started, end; a later `look` tells that it has.

        It gets SIGTERM, and SIGKILL some seconds later. Asked again, or of a task that has ended: harmless.
        """

    def changed(self) -> Iterator[str]:
        """The ids of tasks that may have ended since the last call, or are to be looked at; not all."""

    def close(self) -> None:
        """End all local processes; nothing is started any more."""
