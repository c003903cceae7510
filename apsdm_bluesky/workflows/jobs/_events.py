"""What can happen to a job."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apsdm_bluesky.workflows._definition import Variable
from apsdm_bluesky.workflows.executors import Blame


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job at a time [s since the Unix epoch]."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Began(Event):
    """Its folder stands, with what it takes over from its parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntered(Event):
    """The processes of a round of the stage were prepared, so many of them."""

    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSkipped(Event):
    """The stage's condition does not hold."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePassed(Event):
    """The stage ended well."""

    outputs: Mapping[str, Variable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRepeats(Event):
    """The stage ended well, and what it waits for is not there yet."""

    wake: float
    outputs: Mapping[str, Variable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRetried(Event):
    """The stage failed, and is tried again."""

    wake: float
    reason: str
    blame: Blame


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLost(Event):
    """A process is gone without a word, as after a power cut: it is run anew.

    Parameters
    ----------
    counts
        Whether it may have been the process's doing; not where the agent was ended in order.
    """

    reason: str
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed(Event):
    """The stage failed for good."""

    reason: str
    blame: Blame


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindered(Event):
    """The next step cannot be done now."""

    wake: float
    reason: str
    blame: Blame


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """What stood in its way is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """Somebody wants it to end."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """None of its processes runs any more."""
