"""Rules that start a workflow when a run ends."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ._base import Model

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
_Argument = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _several(value: Any) -> Any:
    """One text stands for a list of it."""
    return [value] if isinstance(value, str) else value


class TriggerConfig(Model):
    """A rule: of which runs a workflow is started, once each, and with what."""

    name: _Name = Field(description="unique; it stands in the jobs that the rule starts")
    workflow: Annotated[str, Field(pattern=r"^([^/\x00]+/)?[^/\x00]+$")] = Field(
        description="its name, or owner/name where several owners have one of that name"
    )
    plan: Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)] = Field(
        ("*",), description="names of plans, or globs: xpcs_*"
    )
    exit_status: Annotated[
        tuple[Literal["success", "abort", "fail"], ...], BeforeValidator(_several), Field(min_length=1)
    ] = Field(("success",), description="how the run ended: success, abort, fail")
    when: str | None = Field(None, description="condition over the run's variables")
    loss: Literal["any", "none", "some"] = Field(
        "any", description="whether frames were lost, as the run's stream ledger tells"
    )
    analysis: bool = Field(False, description="whether the runs of the live reduction trigger too")
    arguments: dict[_Argument, str | bool | int | float] = Field(
        {}, description="what the job is given: texts with the run's variables"
    )
