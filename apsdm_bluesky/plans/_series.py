"""What plans that take one series have in common."""

import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import FailedStatus, Msg, RunEngineControlException

from apsdm_bluesky.errors import AcquisitionError

_SETTING_TIMEOUT_S = 5.0
_POLL_S = 0.02
# What a driver may make of a time that is asked for: it counts in its own clock's ticks.
_TIME_ROUNDING = 0.01

Plan = Generator[Msg, Any, Any]


def one_series(
    detector: Any,
    start: Mapping[str, Any],
    collecting: Callable[[], Plan],
    *,
    reason: Callable[[], str],
    write_raw: bool | None,
) -> Plan:
    """A run of one acquisition, from stage to unstage; returns its uid.

    Parameters
    ----------
    start
        Metadata for the start document.
    collecting
        The plan from the start of the detector to its end; rows that come last are collected behind it.
    reason
        Of the stop document, where it ends well.
    write_raw
        Whether the raw frames of this run are stored; None: as the device is set.
    """

    @bpp.stage_decorator([detector])  # type: ignore[untyped-decorator]
    def series() -> Plan:
        uid = yield from bps.open_run(dict(start))
        yield from bpp.contingency_wrapper(
            bpp.finalize_wrapper(_fly(detector, collecting), lambda: _account(detector)),
            except_plan=lambda error: _close_failed(detector, error),
            else_plan=lambda: bps.close_run(exit_status="success", reason=reason()),
        )
        return uid

    device_setting = detector.write_raw
    try:
        if write_raw is not None:
            detector.write_raw = write_raw
        return (yield from series())
    finally:
        detector.write_raw = device_setting


def camera_settings(
    detector: Any, num_frames: int | None, period: float | None, exposure: float | None
) -> Plan:
    """Set the camera; what is None stays as it is.

    Raises
    ------
    AcquisitionError
        It does not take a setting: the number of frames exactly, times to 1 %.
    """
    cam = detector.cam
    wanted = (
        (cam.num_images, num_frames, 0.0),
        (cam.acquire_time, exposure, _TIME_ROUNDING),
        (cam.acquire_period, period, _TIME_ROUNDING),
    )
    for signal, value, rounding in wanted:
        if value is not None:
            yield from _set(signal, value, rounding)


def _set(signal: Any, value: float, rounding: float) -> Plan:
    """Put, and wait until the driver shows the value, at most `rounding` (relative) away."""
    record = signal.setpoint_pvname
    deadline = time.monotonic() + _SETTING_TIMEOUT_S
    try:
        yield from bps.abs_set(signal, value, wait=True, timeout=_SETTING_TIMEOUT_S)
    except FailedStatus as error:
        raise AcquisitionError(
            f"{record}: does not take {value:g} ({error.__cause__ or error}); is its IOC running?"
        ) from error
    while not math.isclose(
        shown := (yield from bps.rd(signal, default_value=value)), value, rel_tol=rounding
    ):
        if time.monotonic() > deadline:
            raise AcquisitionError(
                f"{record}: {value:g} was asked for, it reads {shown:g}; ask for what the detector can do"
            )
        yield from bps.sleep(_POLL_S)


def _fly(detector: Any, collecting: Callable[[], Plan]) -> Plan:
    yield from bps.declare_stream(detector, name="primary", collect=True)
    yield from bps.kickoff(detector, wait=True)
    # A resumed run goes on from here: the acquisition that a pause has ended is not begun again.
    yield from bps.checkpoint()
    yield from collecting()


def _account(detector: Any) -> Plan:
    """The rows that came last, and the ledger: also after an interruption."""
    detector.pause()  # after a failure: it must have ended before its account can be read
    if detector.frame_ledger is None:
        return
    yield from bps.collect(detector, name="primary")
    yield from bps.create("ledger")
    yield from bps.read(detector.ledger)
    yield from bps.save()


def _close_failed(detector: Any, error: Exception) -> Plan:
    if isinstance(error, RunEngineControlException):
        return (yield from bps.close_run(exit_status=error.exit_status, reason=detector.verdict))
    # A failed status says only that it failed; its cause says why.
    return (yield from bps.close_run(exit_status="fail", reason=str(error.__cause__ or error)))
