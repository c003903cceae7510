"""What a workflow is: its stages, and what each of them asks for. Nothing here runs anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | int | float | bool
Variable = Value | tuple[Value, ...]

LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A stage that runs again until a condition holds.

    Parameters
    ----------
    period_s
        Seconds from the end of one time to the start of the next.
    until
        The condition; it may use the outputs of the stage itself.
    maximum
        Times that the stage runs at most; reaching it fails the stage.
    """

    period_s: float
    until: str
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """A stage with one child process for each item.

    Parameters
    ----------
    over
        `$name` of a list variable, or a glob, in which variables may stand.
    variable
        The name by which a child's command knows its item.
    limit
        Children that run at once, at most.
    """

    over: str
    variable: str = "item"
    limit: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """A stage that is tried again when it fails.

    Parameters
    ----------
    count
        Times that it is tried again.
    delay_s
        Seconds before the first of them.
    factor
        By which the delay grows with each.
    longest_s
        Seconds that no delay goes beyond.
    """

    count: int
    delay_s: float = 10.0
    factor: float = 2.0
    longest_s: float = 600.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait before the retry of this number, counted from 1."""
        delay = self.delay_s
        for _ in range(attempt - 1):
            if delay >= self.longest_s:
                break
            delay *= self.factor
        return min(delay, self.longest_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a workflow: a command, or a Python function.

    Parameters
    ----------
    name
        Unique in its workflow.
    command
        A template: split into arguments first, then `$name` is replaced inside each of them.
    call
        Instead of a command: `module:function`.
    outputs
        Regular expressions with named groups; what they find in the stage's output becomes variables.
    working_folder
        A template; the job's own folder where it is not given.
    run_if
        A condition; the stage is skipped where it does not hold.
    repeat, parallel, retries
        Once, one process, and never where they are not given.
    timeout_s
        Seconds after which one attempt is stopped; never where it is not given.
    where
        `local`, or the name of a remote.
    shell
        Whether the command is a script of `/bin/sh`; variables are quoted for it.
    dm
        Keys of the DM format as they were read, where the fields above do not give them again.
    """

    name: str
    command: str | None = None
    call: str | None = None
    outputs: tuple[str, ...] = ()
    working_folder: str | None = None
    run_if: str | None = None
    repeat: Repeat | None = None
    parallel: Parallel | None = None
    timeout_s: float | None = None
    retries: Retries | None = None
    where: str = LOCAL
    shell: bool = False
    dm: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """Stages that run one after the other.

    Parameters
    ----------
    name, owner, version
        Tell it from all others.
    description
        For people.
    user_account
        The account that its commands run under; the agent's own where it is not given.
    arguments
        What a job may be given, with what holds where it is not; None: the job must give it. Without the
        mapping a job's arguments are free, as in the DM system: only the job finds a misspelt variable.
    stages
        In the order in which they run.
    dm
        Keys of the DM format as they were read, where the fields above do not give them again.
    """

    name: str
    owner: str
    version: int = 1
    description: str = ""
    user_account: str | None = None
    arguments: Mapping[str, Variable | None] | None = None
    stages: tuple[Stage, ...] = ()
    dm: Mapping[str, object] = field(default_factory=dict)
