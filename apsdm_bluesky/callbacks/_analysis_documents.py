"""What the documents of an analysis run hold."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger
from apsdm_bluesky.reduction import (
    DecayFit,
    MultiTauResult,
    QMap,
    QualityResult,
    RoiStatsResult,
    SaxsResult,
    SegmentedG2,
    SeriesResult,
    TwoTimeResult,
    multitau_delays,
)
from apsdm_bluesky.streaming import AcquisitionInfo

# Metadata of the raw run that its analysis repeats, so that a search finds both.
REPEATED = ("scan_id", "sample", "proposal", "esaf", "experiment", "station")
# What became of the frames before the reduction, as in the raw run's ledger.
_COUNTS = ("expected", "accepted", "corrupt", "missing", "updates", "duplicate", "stale", "out_of_order")

UNITS = {
    "delays": "frames",
    "gamma": "1/frame",
    "gamma_err": "1/frame",
    "centroid": "px",
    "first": "frames",
    "distance_m": "m",
    "pixel_size_m": "m",
    "energy_kev": "keV",
    "phi": "degree",
    "static_phi": "degree",
    "saxs": "counts/pixel/frame",
    "saxs_segments": "counts/pixel/frame",
    "sums": "counts",
    "total": "counts",
    "iqt": "counts/pixel/frame",
}


def start_data(
    device_name: str, raw_start: Mapping[str, Any], config: ReductionConfig, info: AcquisitionInfo
) -> dict[str, Any]:
    configuration = config.model_dump(mode="json")
    text = json.dumps(configuration, sort_keys=True)
    return {
        **{key: raw_start[key] for key in REPEATED if key in raw_start},
        **({"raw_uid": raw_start["uid"]} if "uid" in raw_start else {}),
        "purpose": "xpcs",
        "detector": device_name,
        "software": {name: version(name) for name in ("apsdm-bluesky", "numpy", "numba", "scipy")},
        "configuration": configuration,
        "configuration_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "frames_expected": info.expected,
        "frame_period_s": info.period_s,
    }


def mask_data(qmap: QMap, hot: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "mask": (qmap.dynamic > 0).astype(np.uint8),
        "hot_pixels": hot.astype(np.uint8),
        "hot_pixel_count": int(hot.sum()),
        "dynamic_map": qmap.dynamic.astype(np.int32),
        "static_map": qmap.static.astype(np.int32),
        "q": qmap.q,
        "static_q": qmap.static_q,
        "q_unit": qmap.unit,
        "qmap_sha256": qmap.hash,
        "center": np.array(qmap.center),
        **_geometry_data(qmap),
    }


def _geometry_data(qmap: QMap) -> dict[str, Any]:
    """What is known of it."""
    known: dict[str, Any] = {"phi": qmap.phi, "static_phi": qmap.static_phi}
    if qmap.geometry is not None:
        keys = ("distance_m", "energy_kev", "pixel_size_m", "rotations")
        known |= {key: getattr(qmap.geometry, key) for key in keys}
    return {key: value for key, value in known.items() if value is not None}


def running_data(running: MultiTauResult, expected: int, config: ReductionConfig) -> dict[str, Any]:
    """Padded with NaN (delays: 0) to the whole series' length, as every event has one shape."""
    length = len(multitau_delays(expected, config.delays_per_level, config.definition))
    missing = length - len(running.delays)
    pad = ((0, missing), (0, 0))
    return {
        "frames": running.frames,
        "delays": np.pad(running.delays, (0, missing)),
        "g2": np.pad(running.g2, pad, constant_values=np.nan),
        "g2_err": np.pad(running.g2_err, pad, constant_values=np.nan),
    }


def result_data(result: SeriesResult) -> dict[str, Any]:
    multitau = result.multitau
    return {
        "frames": multitau.frames,
        "q": result.qmap.q,
        "q_unit": result.qmap.unit,
        "delays": multitau.delays,
        "levels": multitau.levels,
        "pairs": multitau.pairs,
        "g2": multitau.g2,
        "g2_err": multitau.g2_err,
        **_segment_data(multitau.segments),
        **_decay_data(result.decays),
        **_saxs_data(result.saxs),
        "frame_index": result.stats.indices,
        "total": result.stats.total,
        "centroid": result.stats.centroid,
        "iqt": result.stats.iqt,
        "iqt_first": result.stats.iqt_first,
        "iqt_frames": result.stats.iqt_frames,
        "result_sha256": result.sha256,
    }


def _segment_data(segments: SegmentedG2 | None) -> dict[str, Any]:
    if segments is None:
        return {}
    return {
        "g2_segments": segments.g2,
        "g2_segment_first": segments.first,
        "g2_segment_frames": segments.frames,
    }


def _decay_data(decays: DecayFit) -> dict[str, Any]:
    names = [item.name for item in dataclasses.fields(DecayFit) if item.name not in ("q", "reasons")]
    return {**{name: getattr(decays, name) for name in names}, "reasons": json.dumps(decays.reasons)}


def _saxs_data(saxs: SaxsResult) -> dict[str, Any]:
    return {
        "saxs": saxs.intensity,
        "static_q": saxs.static_q,
        "saxs_segments": saxs.segments,
        "saxs_segment_first": saxs.segment_first,
        "saxs_segment_frames": saxs.segment_frames,
        "sum_image": saxs.sum_image,
    }


def roi_data(rois: RoiStatsResult) -> dict[str, Any]:
    return {"names": json.dumps(rois.names), "pixels": rois.pixels, "sums": rois.sums}


def two_time_data(two_time: TwoTimeResult) -> dict[str, Any]:
    """The matrices in 32 bits: half the bytes, and far finer than their noise."""
    values = {item.name: getattr(two_time, item.name) for item in dataclasses.fields(two_time)}
    return {**values, "c2": two_time.c2.astype(np.float32)}


def quality_data(quality: QualityResult) -> dict[str, Any]:
    """One row an indicator; bin 0: the whole frame, index -1: the whole series."""
    listed = quality.indicators
    return {
        "names": json.dumps([each.name for each in listed]),
        "units": json.dumps([each.unit for each in listed]),
        "value": np.array([each.value for each in listed]),
        "error": np.array([each.error for each in listed]),
        "significance": np.array([each.significance for each in listed]),
        "bin": np.array([each.bin or 0 for each in listed], np.int64),
        "index": np.array([-1 if each.index is None else each.index for each in listed], np.int64),
    }


def ledger_data(acquisition: AcquisitionLedger, fate: ConsumerLedger) -> dict[str, Any]:
    return {
        **{key: getattr(acquisition, key) for key in _COUNTS},
        "gaps": json.dumps(acquisition.gaps),
        "done": fate.done,
        "dropped": fate.dropped,
        "reason": fate.reason,
    }


def verdict(acquisition: AcquisitionLedger, fate: ConsumerLedger) -> str:
    text = f"{fate.done} of {acquisition.expected} frames reduced"
    return f"{text}; {fate.dropped} dropped: {fate.reason}" if fate.dropped else text
