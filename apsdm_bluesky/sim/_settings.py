"""What a simulated detector process is told at its start, as one line of JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from apsdm_bluesky.config import SimulationConfig

__all__ = ["DetectorSettings", "Fault"]

Index = Annotated[int, Field(ge=0)]


class Fault(BaseModel):
    """Losses to inject into every acquisition, for tests. Indices count from the acquisition's first frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drop: frozenset[Index] = Field(frozenset(), description="never published; counted in DroppedArrays_RBV")
    duplicate: frozenset[Index] = Field(frozenset(), description="published twice with the same id")
    stop_after: Annotated[int, Field(ge=0)] | None = Field(None, description="stall after so many frames")


class DetectorSettings(BaseModel):
    """Prefix, sample and faults of one simulated detector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    simulation: SimulationConfig
    fault: Fault = Fault()
