"""Where workflows run, what starts them, and how long their jobs are kept."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive, PythonName
from ._compute import GlobusComputeConfig
from ._triggers import TriggerConfig

_Count = Annotated[int, Field(ge=1)]


class LocalProcessesConfig(Model):
    """What the processes of stages may take of this machine."""

    parallel: _Count = Field(4, description="processes at a time")
    cpus: _Count | None = Field(None, description="processors of each; default: all of the machine")
    memory_gb: Positive | None = Field(
        None, description="memory of each with all that it starts [1e9 bytes]; default: no limit"
    )
    output_gb: Positive = Field(1, description="what each may print [1e9 bytes]")
    environment: tuple[str, ...] = Field(
        (), description="variables of the agent's environment that each sees beside PATH and the like"
    )


class WorkflowsConfig(Model):
    """Where workflows run, what starts them, and how long their jobs are kept."""

    database: str | None = Field(
        None,
        description="PostgreSQL: postgresql+psycopg://user@host/name; default: a file in the state folder",
    )
    at_once: _Count = Field(100, description="jobs that run at a time; others wait in their order")
    authors: Literal["staff", "everyone"] = Field(
        "staff", description="who writes workflows on the pages: their commands run as the agent's account"
    )
    local: LocalProcessesConfig = LocalProcessesConfig()
    remotes: dict[PythonName, GlobusComputeConfig] = Field(
        default_factory=dict, description="other machines, by the name that a stage's `where` has"
    )
    keep_days: Positive = Field(365, description="a job that ended is kept so long")
    keep_jobs: _Count = Field(100_000, description="so many jobs that ended are kept, the latest")
    triggers: tuple[TriggerConfig, ...] = Field((), description="which runs start a workflow when they end")

    @model_validator(mode="after")
    def _local_is_no_remote(self) -> "WorkflowsConfig":
        if "local" in self.remotes:
            raise ValueError("remotes: 'local' is this machine: name the remote otherwise")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "WorkflowsConfig":
        counts = Counter(rule.name for rule in self.triggers)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(f"triggers: {count} rules have the name {name!r}: rename them")
        return self
