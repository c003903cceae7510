"""One planned fault, as tests write it down."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FaultPlan"]


class FaultPlan(BaseModel):
    """One planned fault.

    Parameters
    ----------
    route
        The call it strikes: a key of `apsdm_bluesky.sim.globus._app.ROUTES`, ``*`` for any call, or
        ``copy`` for the copy of a file inside a task.
    times
        How many calls it strikes.
    after
        How many calls it first lets pass.
    status, code, message, body
        For a call: the answer instead of carrying it out. `code` has a default for each status, `body` are
        further keys. For ``copy``: `code` makes a fault that is tried again; with `fatal` the task fails.
    retry_after
        Header of the answer, seconds.
    drop_reply
        The call is carried out, then the connection is cut without an answer.
    drop_request
        The connection is cut, and nothing is carried out.
    delay_s
        Time between carrying it out and its answer.
    corrupt, truncate, skip
        For ``copy``: the task succeeds although the file has a wrong bit, is cut to a half, or is not there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: str
    times: Annotated[int, Field(ge=1)] = 1
    after: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    code: str | None = None
    message: str = "planned by the fault plan"
    body: dict[str, Any] = {}
    retry_after: Annotated[int, Field(ge=0)] | None = None
    drop_reply: bool = False
    drop_request: bool = False
    delay_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    corrupt: bool = False
    truncate: bool = False
    skip: bool = False
    fatal: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """A key that would do nothing on this route is refused."""
        of_calls = {"status", "body", "retry_after", "drop_reply", "drop_request", "delay_s"}
        of_copies = {"corrupt", "truncate", "skip", "fatal"}
        idle = self.model_fields_set & (of_calls if self.route == "copy" else of_copies)
        if idle:
            raise ValueError(f"{', '.join(sorted(idle))}: does nothing on the route {self.route}")
        return self
