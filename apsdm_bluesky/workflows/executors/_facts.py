"""What is on record of a task that has ended, in a folder that its own command can write to."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from apsdm_bluesky.workflows._output_file import tail

from ._advice import TAIL_BYTES, Cut, Ending, advise
from ._protocol import Blame, Task

Number = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Time = Annotated[float, Field(ge=0, lt=1e11)]


class Facts(BaseModel):
    """How a task ended, see `Ended`; each value is one that can be kept and shown."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    status: Number | None
    started: Time | None
    ended: Time
    host: Annotated[str, Field(max_length=255)]
    pid: Number | None
    cpu_s: Time | None = None
    memory: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    cut: Cut | None = None
    limit: float | None = None
    said: str = ""


class Holder(BaseModel):
    """Which process at a remote runs a task."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    time: Time
    host: Annotated[str, Field(max_length=255)]
    pid: Number


def advised(task: Task, facts: Facts) -> tuple[Blame | None, str]:
    """Whose fault it is, and what went wrong and what to do; (None, '') where it ended well."""
    told = facts.model_dump(include={"status", "cut", "limit", "said"})
    words = tail(task.stderr, TAIL_BYTES).strip() or tail(task.stdout, TAIL_BYTES)
    text = words.decode("utf-8", "replace").strip()
    return advise(Ending(command=task.command, work=str(task.work), tail=text, **told))
