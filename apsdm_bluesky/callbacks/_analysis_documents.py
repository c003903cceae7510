"""What the documents of an analysis run hold."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger
from apsdm_bluesky.reduction import MultiTauResult, QMap, SeriesResult, multitau_delays
from apsdm_bluesky.streaming import AcquisitionInfo

# Metadata of the raw run that its analysis repeats, so that a search finds both.
_REPEATED = ("scan_id", "sample", "proposal", "esaf", "experiment")
# What became of the frames before the reduction, as in the raw run's ledger.
_COUNTS = ("expected", "accepted", "corrupt", "missing", "updates", "duplicate", "stale", "out_of_order")

UNITS = {
    "delays": "frames",
    "gamma": "1/frame",
    "gamma_err": "1/frame",
    "saxs": "counts/pixel/frame",
    "total": "counts",
    "iqt": "counts/pixel/frame",
}


def start_data(
    device_name: str, raw_start: Mapping[str, Any], config: ReductionConfig, info: AcquisitionInfo
) -> dict[str, Any]:
    configuration = config.model_dump(mode="json")
    text = json.dumps(configuration, sort_keys=True)
    return {
        **{key: raw_start[key] for key in _REPEATED if key in raw_start},
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
    }


def running_data(running: MultiTauResult, expected: int, config: ReductionConfig) -> dict[str, Any]:
    """Padded with NaN (delays: 0) to the whole series' length, as every event has one shape."""
    length = len(multitau_delays(expected, config.delays_per_level))
    missing = length - len(running.delays)
    pad = ((0, missing), (0, 0))
    return {
        "frames": running.frames,
        "delays": np.pad(running.delays, (0, missing)),
        "g2": np.pad(running.g2, pad, constant_values=np.nan),
        "g2_err": np.pad(running.g2_err, pad, constant_values=np.nan),
    }


def result_data(result: SeriesResult) -> dict[str, Any]:
    multitau, decays = result.multitau, result.decays
    return {
        "frames": multitau.frames,
        "q": result.qmap.q,
        "q_unit": result.qmap.unit,
        "delays": multitau.delays,
        "levels": multitau.levels,
        "pairs": multitau.pairs,
        "g2": multitau.g2,
        "g2_err": multitau.g2_err,
        "gamma": decays.gamma,
        "gamma_err": decays.gamma_err,
        "contrast": decays.contrast,
        "baseline": decays.baseline,
        "diffusion": decays.diffusion,
        "diffusion_err": decays.diffusion_err,
        "saxs": result.saxs.intensity,
        "static_q": result.qmap.static_q,
        "sum_image": result.saxs.sum_image,
        "frame_index": result.stats.indices,
        "total": result.stats.total,
        "iqt": result.stats.iqt,
        "iqt_first": result.stats.iqt_first,
        "iqt_frames": result.stats.iqt_frames,
        "result_sha256": result.sha256,
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
