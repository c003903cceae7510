"""Reduce frames while they arrive, and publish the result as a linked analysis run."""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger
from apsdm_bluesky.reduction import (
    MultiTauResult,
    QMap,
    RunningResult,
    SeriesReduction,
    SeriesResult,
    multitau_delays,
)
from apsdm_bluesky.streaming import AcquisitionInfo, FrameStream

from ._analysis_run import AnalysisRun, Emit

if TYPE_CHECKING:
    from apsdm_bluesky.streaming import LiveOutput

QMapFor = Callable[[tuple[int, int]], QMap]

# Metadata of the raw run that its analysis repeats, so that a search finds both.
_REPEATED = ("scan_id", "sample", "proposal", "esaf", "experiment")


class StreamReducer:
    """A Bluesky callback that reduces the frames of one device's runs, in a thread beside the acquisition.

    A run that declares the device's primary stream gets one analysis run, emitted while frames come: stream
    ``qmap`` (mask and bins in use), ``running`` (the correlation at each interval), ``primary`` (the
    result), ``ledger`` (what became of the frames). A reduction that fails ends its analysis run with
    ``fail`` and the reason; the raw run never notices.

    Parameters
    ----------
    device_name, frames
        The device's name and its frame stream.
    emit
        Takes the analysis run's documents.
    qmap_for
        Gives the q-map for frames of a shape (ny, nx).
    config
        What to compute, how often to tell, and what to do when frames come faster than they can be reduced.
    live
        Also shows each running result, and the last one.

    Attributes
    ----------
    last
        The analysis of the last run that has ended.
    """

    def __init__(
        self,
        device_name: str,
        frames: FrameStream,
        *,
        emit: Emit,
        qmap_for: QMapFor,
        config: ReductionConfig,
        live: "LiveOutput | None" = None,
    ) -> None:
        self._device_name = device_name
        self._frames = frames
        self._emit = emit
        self._qmap_for = qmap_for
        self._config = config
        self._live = live
        self._starts: dict[str, dict[str, Any]] = {}  # of the runs that are open
        self._analysis: _Analysis | None = None
        self._unfinished: list[_Analysis] = []
        self.last: _Analysis | None = None

    @property
    def unfinished(self) -> "list[_Analysis]":
        """Analyses whose raw run has ended, and they have not."""
        return [analysis for analysis in self._unfinished if not analysis.ended.is_set()]

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of the raw run."""
        if name == "start":
            self._starts[doc["uid"]] = doc
        elif name == "descriptor" and self._declares_frames(doc):
            self._analysis = _Analysis(
                self._device_name,
                self._starts[doc["run_start"]],
                self._emit,
                self._qmap_for,
                self._config,
                self._live,
            )
            self._frames.attach(self._analysis, overflow=self._config.on_overflow)
        elif name == "stop":
            self._starts.pop(doc["run_start"], None)
            if self._analysis is not None and self._analysis.raw_uid == doc["run_start"]:
                self._detach(self._analysis)

    def _detach(self, analysis: "_Analysis") -> None:
        self._frames.detach(analysis)
        if analysis.uid is not None:
            self._unfinished = [*self.unfinished, analysis]
        self.last, self._analysis = analysis, None

    def _declares_frames(self, doc: dict[str, Any]) -> bool:
        mine = doc.get("object_keys", {}).get(self._device_name, [])
        external = any("external" in doc["data_keys"][key] for key in mine)
        return external and doc["run_start"] in self._starts and self._analysis is None


class _Analysis:
    """The consumer of one raw run's frames, and its analysis run."""

    def __init__(
        self,
        device_name: str,
        raw_start: dict[str, Any],
        emit: Emit,
        qmap_for: QMapFor,
        config: ReductionConfig,
        live: "LiveOutput | None",
    ) -> None:
        self.name = f"{device_name} reduction"
        self._device_name = device_name
        self._raw_start = raw_start
        self._emit = emit
        self._qmap_for = qmap_for
        self._config = config
        self._live = live
        self._run: AnalysisRun | None = None
        self._series: SeriesReduction | None = None
        self._expected = 0
        self._told_mask = False
        self._next_report = 0.0
        self.result: SeriesResult | None = None
        self.fate: ConsumerLedger | None = None
        self.ended = threading.Event()

    @property
    def uid(self) -> str | None:
        """The analysis run's uid; None before it began."""
        return self._run.uid if self._run else None

    @property
    def raw_uid(self) -> str:
        """The raw run's uid."""
        return str(self._raw_start["uid"])

    def begin(self, info: AcquisitionInfo) -> None:
        """Open the analysis run: its start document stands in the spool before the raw run can end."""
        self._expected = info.expected
        self._run = AnalysisRun(self._emit, self._metadata(info))
        self._series = SeriesReduction(
            self._qmap_for(info.frame_shape),
            delays_per_level=self._config.delays_per_level,
            hot_pixel_frames=self._config.hot_pixel_frames,
        )
        self._next_report = time.monotonic() + self._config.interval_s

    def consume(self, batch: Batch) -> None:
        """Reduce a batch; report when it is time."""
        if self._series is None or self._run is None:
            raise ReductionError(f"{self.name}: frames came before it began")
        self._series.push(batch)
        if time.monotonic() < self._next_report:
            return
        self._tell_mask(self._run, self._series)
        if (running := self._series.running()) is not None:
            self._show(running, seen=int(batch.indices[-1]) + 1)
            data = _running_data(running.multitau, self._expected, self._config)
            self._run.event("running", data, _UNITS)
        self._next_report = time.monotonic() + self._config.interval_s

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        """Publish the result, or why there is none."""
        if not fate.done and not fate.reason:
            fate = dataclasses.replace(fate, reason="no frame came that could be reduced")
        self.fate = fate
        if self._run is None:  # begin failed before there was a run; the lane has logged it
            return
        try:
            self._run.event("ledger", _ledger_data(acquisition, fate))
            if fate.failed or not fate.done or self._series is None:
                self._run.close("fail", fate.reason)
                return
            self.result = self._series.result()
            self._tell_mask(self._run, self._series)
            self._show(self.result, seen=acquisition.expected)
            self._run.event("primary", _result_data(self.result), _UNITS)
            self._run.close("success", _verdict(acquisition, fate))
        except Exception as error:
            self._run.close("fail", f"{type(error).__name__}: {error}")
            raise
        finally:
            self.ended.set()

    def _show(self, result: RunningResult, seen: int) -> None:
        """On displays: the result of the frames up to now, `seen` of the series."""
        if self._live is not None:
            self._live.publish(result, missing=seen - result.multitau.frames)

    def _tell_mask(self, run: AnalysisRun, series: SeriesReduction) -> None:
        """Once, as soon as hot pixels are known: which pixels count, and in which bins."""
        if self._told_mask or series.masked is None:
            return
        self._told_mask = True
        run.event("qmap", _mask_data(*series.masked))

    def _metadata(self, info: AcquisitionInfo) -> dict[str, Any]:
        configuration = self._config.model_dump(mode="json")
        text = json.dumps(configuration, sort_keys=True)
        return {
            **{key: self._raw_start[key] for key in _REPEATED if key in self._raw_start},
            "raw_uid": self._raw_start["uid"],
            "purpose": "xpcs",
            "detector": self._device_name,
            "software": {name: version(name) for name in ("apsdm-bluesky", "numpy", "numba", "scipy")},
            "configuration": configuration,
            "configuration_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "frames_expected": info.expected,
            "frame_period_s": info.period_s,
        }


# What became of the frames before the reduction, as in the raw run's ledger.
_COUNTS = ("expected", "accepted", "corrupt", "missing", "updates", "duplicate", "stale", "out_of_order")

_UNITS = {
    "delays": "frames",
    "gamma": "1/frame",
    "gamma_err": "1/frame",
    "saxs": "counts/pixel/frame",
    "total": "counts",
    "iqt": "counts/pixel/frame",
}


def _mask_data(qmap: QMap, hot: NDArray[np.bool_]) -> dict[str, Any]:
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


def _running_data(running: MultiTauResult, expected: int, config: ReductionConfig) -> dict[str, Any]:
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


def _result_data(result: SeriesResult) -> dict[str, Any]:
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


def _ledger_data(acquisition: AcquisitionLedger, fate: ConsumerLedger) -> dict[str, Any]:
    return {
        **{key: getattr(acquisition, key) for key in _COUNTS},
        "gaps": json.dumps(acquisition.gaps),
        "done": fate.done,
        "dropped": fate.dropped,
        "reason": fate.reason,
    }


def _verdict(acquisition: AcquisitionLedger, fate: ConsumerLedger) -> str:
    text = f"{fate.done} of {acquisition.expected} frames reduced"
    return f"{text}; {fate.dropped} dropped: {fate.reason}" if fate.dropped else text
