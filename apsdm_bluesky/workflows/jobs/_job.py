"""What a job is: one run of a workflow, its stages, and every process that was started for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from apsdm_bluesky.workflows._definition import LOCAL, Variable
from apsdm_bluesky.workflows.executors import Blame


class State(StrEnum):
    """Of a job, and of each of its stages, in the DM system's words."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ABORTING = "aborting"
    """Somebody cancelled it, and processes of it still run."""
    ABORTED = "aborted"
    SKIPPED = "skipped"
    """Of a job: each of its stages was skipped."""


ENDED = (State.DONE, State.FAILED, State.ABORTED, State.SKIPPED)
"""Nothing follows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a workflow. Times in seconds since the Unix epoch.

    Parameters
    ----------
    owner
        Whose job it is.
    workflow_owner, workflow, version
        The definition that it runs; that version is kept as long as the job.
    stages
        Names of the stages.
    arguments
        What it was given, with the workflow's defaults.
    run, rule
        The uid of the run that it was started for, and the trigger's rule that did it.
    parent
        The job that it was resubmitted from; it takes over what that one found before `first`.
    first
        Index of the stage that it begins with.
    stage
        Index of the stage that it is at.
    variables
        What the outputs of its stages defined.
    ran
        Whether any stage of it was not skipped.
    entered
        Whether processes of this round of the stage were prepared.
    round, retry, lost
        How often the stage was repeated, tried again, and run anew since its process was lost.
    wake
        Nothing is done before; None: at once.
    reason, blame
        Why it failed or waits, and whose fault it is.
    pinned
        It is never removed for its age.
    revision
        Counts the changes: whoever changes a job, changes the one that they read.
    """

    id: str
    owner: str
    workflow_owner: str
    workflow: str
    version: int
    stages: tuple[str, ...]
    arguments: Mapping[str, Variable] = field(default_factory=dict)
    run: str | None = None
    rule: str | None = None
    parent: str | None = None
    first: int = 0
    state: State = State.PENDING
    stage: int = 0
    variables: Mapping[str, Variable] = field(default_factory=dict)
    ran: bool = False
    entered: bool = False
    round: int = 0
    retry: int = 0
    lost: int = 0
    wake: float | None = None
    reason: str = ""
    blame: Blame | None = None
    pinned: bool = False
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    revision: int = 0

    @property
    def stage_name(self) -> str:
        """The name of the stage that it is at; empty where it has none, for its workflow is not known."""
        return self.stages[self.stage] if self.stages else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntry:
    """What became of a stage of a job.

    Parameters
    ----------
    outputs
        The variables that its output defined.
    inherited
        The job that ran it, where this one took it over.
    """

    index: int
    name: str
    state: State = State.PENDING
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    outputs: Mapping[str, Variable] = field(default_factory=dict)
    inherited: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One process of a stage: a try at one child, in one round.

    Parameters
    ----------
    id
        Also the executor's task.
    number
        Counts the attempts at this stage, of all children and rounds together.
    child, item
        Which child of a parallel stage it is, and its item; 0 and None for another stage.
    where
        `local`, or the remote's name.
    environment
        What the process was given beside the executor's own environment.
    folder
        Relative to the job's folder.
    working_folder
        Absolute; None: `work` in its folder.
    asked
        When the executor was asked to start it; None: it was never started.
    ended
        When it ended; None where it has not.
    status, cpu_s, memory, host, pid, blame, reason
        As the executor reported.
    lost
        The process was gone without a word: not the command's fault.
    stdout, stderr
        The last lines of its output, once it has ended.
    """

    id: str
    job: str
    stage: int
    round: int
    number: int
    child: int = 0
    item: str | None = None
    where: str = LOCAL
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str
    working_folder: str | None = None
    timeout_s: float | None = None
    prepared: float = 0.0
    asked: float | None = None
    started: float | None = None
    ended: float | None = None
    status: int | None = None
    host: str = ""
    pid: int | None = None
    cpu_s: float | None = None
    memory: int | None = None
    blame: Blame | None = None
    lost: bool = False
    reason: str = ""
    stdout: str = ""
    stderr: str = ""

    @property
    def well(self) -> bool:
        """Whether it ended well."""
        return self.ended is not None and self.blame is None and not self.lost
