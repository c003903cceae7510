"""Pure kernels that turn frames into XPCS and SAXS results: no files, no threads, no network.

Every reduction has the same two methods: `push(batch)` takes the next frames, `result()` tells what is known
so far. A reduction belongs to one thread at a time. Counts are summed as integers, so any split of the frames
into batches gives the same result, bit for bit.
"""

from ._events import event_offsets, pack_events, unpack_events
from ._fit import DecayFit, fit_decays
from ._g2 import MultiTauResult
from ._g2_segments import SegmentedG2
from ._geometry import HC_KEV_ANGSTROM, Geometry
from ._hot_pixels import find_hot_pixels
from ._intensities import Intensities
from ._multitau import MultiTau, PixelSums
from ._qmap import QMap
from ._quality import Indicator, QualityResult, assess_quality
from ._rois import Rectangle, Roi, RoiStats, RoiStatsResult
from ._saxs import Saxs, SaxsResult
from ._scheme import multitau_delays
from ._series import RunningResult, SeriesReduction, SeriesResult
from ._settings import SeriesSettings
from ._sparsify import sparsify
from ._stats import FrameStats, FrameStatsResult
from ._twotime import TwoTime
from ._twotime_log import MultiTauTwoTime, MultiTauTwoTimeResult
from ._twotime_result import AgeProfiles, TwoTimeResult, age_profiles
from ._workers import OneThread, Workers

__all__ = [
    "HC_KEV_ANGSTROM",
    "AgeProfiles",
    "DecayFit",
    "FrameStats",
    "FrameStatsResult",
    "Geometry",
    "Indicator",
    "Intensities",
    "MultiTau",
    "MultiTauResult",
    "MultiTauTwoTime",
    "MultiTauTwoTimeResult",
    "OneThread",
    "PixelSums",
    "QMap",
    "QualityResult",
    "Rectangle",
    "Roi",
    "RoiStats",
    "RoiStatsResult",
    "RunningResult",
    "Saxs",
    "SaxsResult",
    "SegmentedG2",
    "SeriesReduction",
    "SeriesResult",
    "SeriesSettings",
    "TwoTime",
    "TwoTimeResult",
    "Workers",
    "age_profiles",
    "assess_quality",
    "event_offsets",
    "find_hot_pixels",
    "fit_decays",
    "multitau_delays",
    "pack_events",
    "sparsify",
    "unpack_events",
]
