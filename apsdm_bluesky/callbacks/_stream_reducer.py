"""Reduce frames while they arrive, and publish the result as a linked analysis run."""

from typing import TYPE_CHECKING, Any

from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.reduction import RunningResult, Workers
from apsdm_bluesky.streaming import FrameStream

from ._analysis_run import Emit
from ._series_analysis import QMapFor, SeriesAnalysis

if TYPE_CHECKING:
    from apsdm_bluesky.streaming import LiveOutput


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
    workers
        Run the reduction's loops; default: the one thread that takes the frames.

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
        workers: Workers | None = None,
    ) -> None:
        self._device_name = device_name
        self._frames = frames
        self._emit = emit
        self._qmap_for = qmap_for
        self._config = config
        self._live = live
        self._workers = workers
        self._starts: dict[str, dict[str, Any]] = {}  # of the runs that are open
        self._analysis: SeriesAnalysis | None = None
        self._unfinished: list[SeriesAnalysis] = []
        self.last: SeriesAnalysis | None = None

    @property
    def unfinished(self) -> list[SeriesAnalysis]:
        """Analyses whose raw run has ended, and they have not."""
        return [analysis for analysis in self._unfinished if not analysis.ended.is_set()]

    def progress(self) -> RunningResult | None:
        """The last running result of the run that is being taken; None before its first.

        Raises
        ------
        ReductionError
            This run's reduction has failed.
        """
        analysis = self._analysis
        return analysis.progress() if analysis is not None else None

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of the raw run."""
        if name == "start":
            self._starts[doc["uid"]] = doc
        elif name == "descriptor" and self._declares_frames(doc):
            self._analysis = SeriesAnalysis(
                self._device_name,
                self._starts[doc["run_start"]],
                emit=self._emit,
                qmap_for=self._qmap_for,
                config=self._config,
                live=self._live,
                workers=self._workers,
            )
            self._frames.attach(self._analysis, overflow=self._config.on_overflow)
        elif name == "stop":
            self._starts.pop(doc["run_start"], None)
            if self._analysis is not None and self._analysis.raw_uid == doc["run_start"]:
                self._detach(self._analysis)

    def _detach(self, analysis: SeriesAnalysis) -> None:
        self._frames.detach(analysis)
        if analysis.uid is not None:
            self._unfinished = [*self.unfinished, analysis]
        self.last, self._analysis = analysis, None

    def _declares_frames(self, doc: dict[str, Any]) -> bool:
        mine = doc.get("object_keys", {}).get(self._device_name, [])
        external = any("external" in doc["data_keys"][key] for key in mine)
        return external and doc["run_start"] in self._starts and self._analysis is None
