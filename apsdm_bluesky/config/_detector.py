"""A detector and how its frames are taken."""

from typing import Annotated, Literal

from pydantic import Field

from ._base import Model, Overflow, Positive


class DetectorConfig(Model):
    """One detector behind an areaDetector IOC (or the simulated one)."""

    prefix: str = Field(description="EPICS prefix of the IOC, for instance '8idLambda2m:'")
    pva_channel: str | None = Field(None, description="NTNDArray channel; default: prefix + 'Pva1:Image'")
    ring_mb: Positive = Field(256, description="memory for frames between the network and the consumers")
    stall_timeout_s: Positive = Field(10.0, description="give up when no frame came for so long")
    layout: Literal["images", "events"] = Field(
        "images", description="what a message holds: dense images, or the packed words of non-zero pixels"
    )
    frames_per_message: Annotated[int, Field(ge=1)] = Field(
        1, description="frames in each message; the last one of an acquisition may bring fewer"
    )
    batch_age_s: Positive = Field(0.5, description="frames wait no longer than this for a full batch")
    on_loss: Literal["mark", "fail"] = Field(
        "mark", description="frames are missing: the run tells (mark), or fails (fail)"
    )
    on_overflow: Overflow = Field(
        "block",
        description="frames come faster than they are stored: hold the detector's queue, drop and count, or "
        "spill to disk",
    )
    credit: Annotated[int, Field(ge=0)] = Field(
        0, description="messages that a source of ours may be ahead of us; 0: the source does not wait"
    )
    write_raw: bool = Field(True, description="store raw frames unless the plan says otherwise")
    live_prefix: str | None = Field(
        None, description="of the channels with running results; default: prefix + 'APSDM:'"
    )
    record: bool = Field(False, description="keep every message as it comes, beside the raw frames")
    raw_store: Literal["auto", "dense", "events"] = Field(
        "auto", description="how: images, events of non-zero pixels, or by the occupancy of the first frames"
    )
