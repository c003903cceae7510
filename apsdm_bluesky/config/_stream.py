"""The group of processes that reduces a fast detector's frames."""

from typing import Annotated

from pydantic import Field

from ._base import Model, PythonName


class StreamGroupConfig(Model):
    """The group of processes that reduces a detector's frames where one process is too slow."""

    detector: PythonName | None = Field(None, description="whose frames; default: the only detector")
    channel: str | None = Field(None, description="read this NTNDArray channel in place of the detector's")
    collector: str | None = Field(None, description="channel of the collector; default: prefix + 'Stream'")
    consumers: Annotated[int, Field(ge=1, le=256)] = Field(2, description="processes on this machine")
    frames: Annotated[int, Field(ge=1)] | None = Field(
        None, description="of a series; default: as many as come until the detector is silent"
    )
    interface: str = Field("127.0.0.1", description="address that the collector listens at")
    queue: Annotated[int, Field(ge=1)] = Field(256, description="messages the IOC keeps for each consumer")
    window: Annotated[int, Field(ge=1)] = Field(256, description="messages held for one that is late")
    restarts: Annotated[int, Field(ge=0)] = Field(5, description="how often a dead consumer is started again")
