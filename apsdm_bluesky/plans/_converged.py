"""Take frames until the correlation is known well enough."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
from bluesky import plan_stubs as bps
from bluesky.utils import short_uid

from apsdm_bluesky.errors import ApsdmError, ReductionError
from apsdm_bluesky.reduction import RunningResult

from ._convergence import Check, Targets, check
from ._series import Plan, camera_settings, one_series

logger = logging.getLogger(__name__)

_LOOK_S = 0.1

Progress = Callable[[], RunningResult | None]


def acquire_until_converged(
    detector: Any,
    progress: Progress,
    max_frames: int,
    *,
    rate_error: float | None = None,
    g2_error: float | None = None,
    delay: int | None = None,
    bins: Sequence[int] | None = None,
    max_exposure_s: float | None = None,
    max_time_s: float | None = None,
    acquire_period: float | None = None,
    acquire_time: float | None = None,
    write_raw: bool | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Take one series of frames, and end it as soon as the correlation is known well enough.

    Each running result of the live reduction is compared with the targets; when every chosen bin has reached
    every target the detector is stopped. The run is one of `xpcs_series` with a stream ``convergence`` beside
    it, one event a check. The targets stand in the start document, the outcome in the stop document's
    ``reason``. Frames that were not taken are not missing: the ledger expects what the detector has sent.

    A series that does not converge ends at its limits, as a success that tells so. Where the reduction
    fails nothing can be judged: the frames up to the limits are taken, and can be reduced offline.

    Parameters
    ----------
    detector
        A `PvaStream`.
    progress
        Gives the last running result of the run, or None: ``session.reducers["name"].progress``.
    max_frames
        Frames to take at most.
    rate_error
        Target of the relative standard error of each fitted rate, for instance 0.05. By jackknife.
    g2_error
        Target of the standard error of g2, by jackknife, relative to the contrast (g2 - 1 at delay 1).
    delay
        Of `g2_error` [frames]: the first measured delay that is not shorter. None: the median over all.
    bins
        Dynamic bins that count, from 1; None: all.
    max_exposure_s
        Dose: exposure of all frames together [s]; the camera is set to no more frames than fit.
    max_time_s
        Time since the start of the detector [s].
    acquire_period, acquire_time, write_raw, md
        As of `xpcs_series`.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ValueError
        No target, or limits that allow no frame.
    AcquisitionError
        As of `xpcs_series`.
    ReductionError
        The q-map has not all of `bins`; the run has failed then.
    """
    targets = Targets(
        rate_error=rate_error,
        g2_error=g2_error,
        delay=delay,
        bins=None if bins is None else tuple(int(number) for number in bins),
    )
    yield from camera_settings(detector, None, acquire_period, acquire_time)
    exposure_s = yield from bps.rd(detector.cam.acquire_time)
    frames = _limit(max_frames, max_exposure_s, exposure_s)
    yield from camera_settings(detector, frames, None, None)
    limits = {"max_frames": max_frames, "max_exposure_s": max_exposure_s, "max_time_s": max_time_s}
    start = {
        "plan_name": "acquire_until_converged",
        "detectors": [detector.name],
        "plan_args": {"detector": detector.name, "acquire_period": acquire_period, **limits},
        "convergence": {**dataclasses.asdict(targets), "bins": targets.bins and list(targets.bins), **limits},
        **(md or {}),
    }
    # The first fit loads it, which takes seconds on a busy machine: not while frames come.
    import_module("lmfit")
    judge = _Judge(detector, progress, targets)
    try:
        return (
            yield from one_series(
                detector,
                start,
                lambda: _collect_until(judge, detector, max_time_s),
                reason=lambda: f"{detector.verdict}; {judge.outcome}",
                write_raw=write_raw,
            )
        )
    finally:
        judge.close()


def _limit(max_frames: int, max_exposure_s: float | None, exposure_s: float) -> int:
    if max_exposure_s is None:
        frames = max_frames
    else:
        frames = min(max_frames, int(max_exposure_s / exposure_s * (1 + 1e-9)))
    if frames < 1:
        raise ValueError(
            f"max_frames {max_frames}, max_exposure_s {max_exposure_s}: give room for one frame of "
            f"{exposure_s:g} s"
        )
    return frames


def _collect_until(judge: "_Judge", detector: Any, max_time_s: float | None) -> Plan:
    """Collect, and look at each running result."""
    begin = time.monotonic()
    group = short_uid("complete")
    yield from bps.complete(detector, group=group, wait=False)
    done = False
    while not done:
        done = yield from bps.wait(group=group, timeout=_LOOK_S, error_on_timeout=False)
        yield from bps.collect(detector, name="primary")
        if judge.looked():
            yield from bps.create(judge.name)
            yield from bps.read(judge)
            yield from bps.save()
            yield from bps.checkpoint()  # a resumed run must not tell it again
        if max_time_s is not None and time.monotonic() - begin > max_time_s:
            judge.end_after(max_time_s)


class _Judge:
    """Looks at running results, in a thread of its own, and ends the acquisition; reads as the last check."""

    name = "convergence"
    parent = None

    def __init__(self, detector: Any, progress: Progress, targets: Targets) -> None:
        self._detector = detector
        self._progress = progress
        self._targets = targets
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="convergence")
        self._checking: Future[Check] | None = None
        self._last: Check | None = None
        self._received = 0
        self._verdict = ""

    @property
    def outcome(self) -> str:
        """One line for the stop document."""
        return self._verdict or f"not converged{self._last_told()}"

    def looked(self) -> bool:
        """Whether there is a new check. When it says enough, the detector is told to end.

        Raises
        ------
        ReductionError
            The bins that are asked for do not exist.
        """
        if self._verdict:
            return False
        if self._checking is None:
            self._begin()
        if self._checking is None or not self._checking.done():
            return False
        checking, self._checking = self._checking, None
        try:
            self._last = checking.result()
        except Exception as error:  # noqa: BLE001 - told in the outcome; the frames can be reduced offline
            self._give_up(error)
            return False
        if self._last.converged:
            self._verdict = f"converged{self._last_told()}"
            self._detector.finish()
        return True

    def end_after(self, time_s: float) -> None:
        """The time is over."""
        if not self._verdict.startswith("converged"):
            self._verdict = f"not converged in {time_s:g} s{self._last_told()}"
            self._detector.finish()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)

    def read(self) -> dict[str, dict[str, Any]]:
        """The last check."""
        now = time.time()
        return {key: {"value": value, "timestamp": now} for key, value in self._values().items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data keys: arrays have one number a bin."""
        return {key: {"source": "convergence", **_data_key(value)} for key, value in self._values().items()}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def _values(self) -> dict[str, Any]:
        return {**(self._last.data() if self._last else {}), "received": self._received}

    def _begin(self) -> None:
        try:
            running = self._progress()
        except ReductionError as error:
            self._give_up(error)
            return
        if running is None or (self._last is not None and running.multitau.frames == self._last.frames):
            return
        self._targets.bins_in(running.multitau)
        self._received = self._detector.received
        self._checking = self._pool.submit(check, running.multitau, self._targets)

    def _give_up(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, ApsdmError) else f"{type(error).__name__}: {error}"
        logger.error("convergence cannot be judged: %s", reason, exc_info=error)
        self._verdict = f"not converged, for it cannot be judged: {reason}"

    def _last_told(self) -> str:
        return f" after {self._last.frames} frames: {self._last}" if self._last else ": no result came"


def _data_key(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    kinds = {"b": "boolean", "i": "integer", "f": "number"}
    return {
        "dtype": "array" if array.ndim else kinds[array.dtype.kind],
        "dtype_numpy": array.dtype.str,
        "shape": list(array.shape),
    }
