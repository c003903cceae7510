"""What is computed of a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apsdm_bluesky.config import ReductionConfig

from ._fit import Model
from ._rois import Rectangle, Roi
from ._scheme import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSettings:
    """What is computed of a series.

    Parameters
    ----------
    delays_per_level, definition, segment_frames
        Of `MultiTau`.
    hot_pixel_frames
        Frames used to find hot pixels; 0 does not look. They are held back until so many have come.
    rois
        Regions whose counts are told against time.
    two_time_bins, two_time_budget
        Dynamic bins (from 1) of the two-time correlation, none of them for none, and its memory [bytes].
    model
        Of the decays that are fitted.
    """

    delays_per_level: int = 4
    definition: Definition = "boost-corr"
    segment_frames: int = 0
    hot_pixel_frames: int = 20
    rois: Mapping[str, Roi] = field(default_factory=dict)
    two_time_bins: Sequence[int] = ()
    two_time_budget: int = 1 << 28
    model: Model = "single"

    @classmethod
    def of(cls, config: ReductionConfig) -> "SeriesSettings":
        """What a beamline's configuration asks for."""
        return cls(
            delays_per_level=config.delays_per_level,
            definition=config.definition,
            segment_frames=config.segment_frames,
            hot_pixel_frames=config.hot_pixel_frames,
            rois={name: Rectangle(**roi.model_dump()) for name, roi in config.rois.items()},
            two_time_bins=config.two_time.bins,
            two_time_budget=int(config.two_time.memory_mb * 2**20),
            model=config.model,
        )
