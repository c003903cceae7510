"""What a simulated detector process is told at its start, as one line of JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from apsdm_bluesky.config import SimulationConfig

__all__ = ["DetectorSettings", "Fault"]

Index = Annotated[int, Field(ge=0)]


class Fault(BaseModel):
    """Losses to inject into every acquisition, for tests. Indices count from its first frame.

    Parameters
    ----------
    drop
        Frames that are never published, but counted in DroppedArrays_RBV.
    duplicate
        Frames that are published twice with the same id.
    stop_after
        The camera stalls after so many frames, until it is stopped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drop: frozenset[Index] = frozenset()
    duplicate: frozenset[Index] = frozenset()
    stop_after: Index | None = None


class DetectorSettings(BaseModel):
    """Prefix, sample and faults of one simulated detector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    simulation: SimulationConfig
    fault: Fault = Fault()
