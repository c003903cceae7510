"""The simulated beamline."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ._base import Model, Positive


class SimulationConfig(Model):
    """The simulated beamline: an XPCS sample and an areaDetector IOC in a process of its own."""

    shape: tuple[Annotated[int, Field(ge=8, le=8192)], Annotated[int, Field(ge=8, le=8192)]] = Field(
        (256, 256), description="rows, columns"
    )
    center: tuple[float, float] | None = Field(
        None, description="beam centre (x, y) [px]; default: the middle"
    )
    seed: Annotated[int, Field(ge=0)] = 1
    diffusion: Positive = Field(8e-6, description="Gamma = diffusion * r^2 per frame, r in pixels")
    contrast: Annotated[float, Field(gt=0, le=1)] = 1.0
    mean_counts: Positive = Field(1.0, description="photons a pixel and frame on the brightest ring")
    beam_stop_radius: Annotated[float, Field(ge=0)] = Field(12.0, description="[px]")
    dead_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.002
    frames_file: Path | None = Field(None, description="send the frames of this file instead (replay)")
    speed: Annotated[float, Field(ge=0)] = Field(
        1.0, description="how much faster than its time frames are sent; 0: as fast as they are taken"
    )
    codec: Literal["none", "lz4", "blosc", "bslz4"] = Field("none", description="compress what is sent")
