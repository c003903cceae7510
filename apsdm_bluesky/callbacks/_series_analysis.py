"""One series of frames on its way to a result, and the analysis run that tells it."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger
from apsdm_bluesky.reduction import (
    QMap,
    RunningResult,
    SeriesReduction,
    SeriesResult,
    SeriesSettings,
    Workers,
)
from apsdm_bluesky.streaming import AcquisitionInfo

from ._analysis_documents import (
    UNITS,
    ledger_data,
    mask_data,
    quality_data,
    result_data,
    roi_data,
    running_data,
    start_data,
    two_time_data,
    verdict,
)
from ._analysis_run import AnalysisRun, Emit

if TYPE_CHECKING:
    from apsdm_bluesky.streaming import LiveOutput

QMapFor = Callable[[tuple[int, int]], QMap]


class SeriesAnalysis:
    """The consumer of one series' frames, and its analysis run: the same live, and offline.

    Parameters
    ----------
    device_name
        The detector's.
    raw_start
        The raw run's start document; what came from no run has no `uid`.
    emit, qmap_for, config, live, workers
        As of `StreamReducer`.
    running
        Whether running results are told while frames come.
    metadata
        More for the analysis run's start document.

    Attributes
    ----------
    result
        None before its end, and where it failed.
    fate
        What became of the frames; None before its end.
    ended
        Set when the analysis run is closed.
    """

    def __init__(
        self,
        device_name: str,
        raw_start: Mapping[str, Any],
        *,
        emit: Emit,
        qmap_for: QMapFor,
        config: ReductionConfig,
        live: "LiveOutput | None" = None,
        workers: Workers | None = None,
        running: bool = True,
        metadata: Mapping[str, Any] = {},
    ) -> None:
        self.name = f"{device_name} reduction"
        self._device_name = device_name
        self._raw_start = raw_start
        self._emit = emit
        self._qmap_for = qmap_for
        self._config = config
        self._live = live
        self._workers = workers
        self._running = running
        self._metadata = metadata
        self._run: AnalysisRun | None = None
        self._series: SeriesReduction | None = None
        self._expected = 0
        self._told_mask = False
        self._next_report = 0.0
        self._latest: RunningResult | None = None
        self._failure = ""
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

    def progress(self) -> RunningResult | None:
        """The last running result; None before the first.

        Raises
        ------
        ReductionError
            There will be none any more: it has failed.
        """
        if self._failure:
            raise ReductionError(f"{self.name}: {self._failure}")
        return self._latest

    def begin(self, info: AcquisitionInfo) -> None:
        """Open the analysis run: its start document stands in the spool before the raw run can end."""
        with self._noting_failure():
            self._begin(info)

    def consume(self, batch: Batch) -> None:
        """Reduce a batch; report when it is time."""
        with self._noting_failure():
            self._consume(batch)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise

    def _begin(self, info: AcquisitionInfo) -> None:
        self._expected = info.expected
        metadata = start_data(self._device_name, self._raw_start, self._config, info)
        self._run = AnalysisRun(self._emit, {**metadata, **self._metadata})
        self._series = SeriesReduction(
            self._qmap_for(info.frame_shape), SeriesSettings.of(self._config), workers=self._workers
        )
        self._next_report = time.monotonic() + self._config.interval_s

    def _consume(self, batch: Batch) -> None:
        if self._series is None or self._run is None:
            raise ReductionError(f"{self.name}: frames came before it began")
        self._series.push(batch)
        if not self._running or time.monotonic() < self._next_report:
            return
        self._tell_mask(self._run, self._series)
        if (running := self._series.running()) is not None:
            self._latest = running
            self._show(running, seen=int(batch.indices[-1]) + 1)
            data = running_data(running.multitau, self._expected, self._config)
            self._run.event("running", data, UNITS)
        self._next_report = time.monotonic() + self._config.interval_s

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:
        """Publish the result, or why there is none."""
        if not fate.done and not fate.reason:
            fate = dataclasses.replace(fate, reason="no frame came that could be reduced")
        self.fate = fate
        if self._run is None:  # begin failed before there was a run; the lane has logged it
            return
        try:
            self._run.event("ledger", ledger_data(acquisition, fate))
            if fate.failed or not fate.done or self._series is None:
                self._run.close("fail", fate.reason)
                return
            self.result = self._series.result()
            self._tell_mask(self._run, self._series)
            self._show(self.result, seen=acquisition.expected)
            self._tell_result(self._run, self.result)
            self._run.close("success", verdict(acquisition, fate))
        except Exception as error:
            self._run.close("fail", f"{type(error).__name__}: {error}")
            raise
        finally:
            self._series = None  # its sums can take hundreds of megabytes; the result does not need them
            self.ended.set()

    def _tell_result(self, run: AnalysisRun, result: SeriesResult) -> None:
        if result.rois is not None:
            run.event("rois", roi_data(result.rois), UNITS)
        if result.two_time is not None:
            run.event("two_time", two_time_data(result.two_time), UNITS)
        run.event("quality", quality_data(result.quality))
        run.event("primary", result_data(result), UNITS)

    def _show(self, result: RunningResult, seen: int) -> None:
        """On displays: the result of the frames up to now, `seen` of the series."""
        if self._live is not None:
            self._live.publish(result, missing=seen - result.multitau.frames)

    def _tell_mask(self, run: AnalysisRun, series: SeriesReduction) -> None:
        """Once, as soon as hot pixels are known: which pixels count, and in which bins."""
        if self._told_mask or series.masked is None:
            return
        self._told_mask = True
        run.event("qmap", mask_data(*series.masked), UNITS)
