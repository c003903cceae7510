"""Plans for photon correlation."""

from collections.abc import Generator, Mapping
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import Msg, RunEngineControlException

FLUSH_PERIOD_S = 0.5

Plan = Generator[Msg, Any, Any]


def xpcs_series(
    detector: Any,
    num_frames: int,
    *,
    acquire_period: float | None = None,
    acquire_time: float | None = None,
    write_raw: bool | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Take one series of frames as fast as the detector sends them.

    The run has the streams ``primary`` (frames, where raw frames are stored) and ``ledger`` (every frame's
    fate), and its stop document's ``reason`` tells the verdict.

    Parameters
    ----------
    detector
        A `PvaStream`.
    num_frames
        Frames to take.
    acquire_period, acquire_time
        Time between frames and exposure [s]; None leaves the detector's setting.
    write_raw
        Whether raw frames are stored; None leaves the device's setting.
    md
        Metadata for the start document.

    Returns
    -------
    str
        The run's uid.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; at least one frame is needed")
    start = {
        "plan_name": "xpcs_series",
        "detectors": [detector.name],
        "plan_args": {"detector": detector.name, "num_frames": num_frames, "acquire_period": acquire_period},
        **(md or {}),
    }
    yield from _settings(detector, num_frames, acquire_period, acquire_time)
    if write_raw is not None:
        detector.write_raw = write_raw

    @bpp.stage_decorator([detector])  # type: ignore[untyped-decorator]
    def series() -> Plan:
        uid = yield from bps.open_run(start)
        yield from bpp.contingency_wrapper(
            bpp.finalize_wrapper(_fly(detector), lambda: _account(detector)),
            except_plan=lambda error: _close_failed(detector, error),
            else_plan=lambda: bps.close_run(exit_status="success", reason=detector.verdict),
        )
        return uid

    return (yield from series())


def _settings(detector: Any, num_frames: int, period: float | None, exposure: float | None) -> Plan:
    cam = detector.cam
    wanted = ((cam.num_images, num_frames), (cam.acquire_time, exposure), (cam.acquire_period, period))
    for signal, value in wanted:
        if value is not None:
            yield from bps.abs_set(signal, value, wait=True)


def _fly(detector: Any) -> Plan:
    yield from bps.declare_stream(detector, name="primary", collect=True)
    yield from bps.kickoff(detector, wait=True)
    # A resumed run goes on from here: the acquisition that a pause has ended is not begun again.
    yield from bps.checkpoint()
    yield from bps.collect_while_completing(
        [detector], [detector], flush_period=FLUSH_PERIOD_S, stream_name="primary"
    )


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
