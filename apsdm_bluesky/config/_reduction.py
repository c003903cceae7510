"""What is computed while frames arrive."""

from typing import Annotated, Literal

from pydantic import Field

from ._base import Model, Overflow, Positive
from ._qmap import QMapConfig, RoiConfig


class TwoTimeConfig(Model):
    """The two-time correlation, where it is asked for."""

    bins: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description="dynamic bins, from 1; none: off")
    memory_mb: Positive = Field(
        256, description="for counts and matrices: it sets how fine the time bins are"
    )


class ReductionConfig(Model):
    """What is computed while frames arrive."""

    qmap: QMapConfig | None = Field(None, description="default: rings about the simulated beam centre")
    delays_per_level: Annotated[int, Field(ge=2)] = 4
    definition: Literal["boost-corr", "scikit-beam"] = Field(
        "boost-corr", description="whose delays and normalisation g2 has"
    )
    model: Literal["single", "stretched"] = Field(
        "single", description="of the decays that are fitted: one exponential, or a stretched one"
    )
    segment_frames: Annotated[int, Field(ge=0)] = Field(
        0, description="length of the time segments that g2 is also given for; 0: none"
    )
    rois: dict[str, RoiConfig] = Field({}, description="regions of interest, by name")
    two_time: TwoTimeConfig = TwoTimeConfig()
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="for the correlation; default: half of the cores that the process may use"
    )
    interval_s: Positive = Field(1.0, description="seconds between running results")
    on_overflow: Overflow = Field(
        "drop",
        description="frames come faster than they are reduced: hold the detector's queue, drop and count, or "
        "spill to disk",
    )
    hot_pixel_frames: Annotated[int, Field(ge=0)] = Field(
        20, description="frames used to find hot pixels; 0: do not look"
    )
