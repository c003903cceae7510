"""What a simulated detector process is told at its start, as one line of JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from apsdm_bluesky.config import SimulationConfig

__all__ = ["DetectorSettings", "Fault"]

Index = Annotated[int, Field(ge=0)]


class Fault(BaseModel):
    """Losses to inject into every acquisition, for tests. Indices count messages from its first one.

    Parameters
    ----------
    drop
        Messages that are never published, but counted in DroppedArrays_RBV.
    duplicate
        Messages that are published twice with the same id.
    stop_after
        The camera stalls after so many messages, until it is stopped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drop: frozenset[Index] = frozenset()
    duplicate: frozenset[Index] = frozenset()
    stop_after: Index | None = None


class DetectorSettings(BaseModel):
    """Prefix, sample, way to send and faults of one simulated detector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    simulation: SimulationConfig
    layout: Literal["images", "events"] = "images"
    frames_per_message: Annotated[int, Field(ge=1)] = 1
    credit: Annotated[int, Field(ge=0)] = 0
    fault: Fault = Fault()
