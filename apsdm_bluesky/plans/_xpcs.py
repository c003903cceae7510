"""Take series of frames for photon correlation."""

from collections.abc import Mapping
from typing import Any

from bluesky import plan_stubs as bps

from ._series import Plan, camera_settings, one_series

_FLUSH_PERIOD_S = 0.5


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
        Whether the raw frames of this run are stored; None: as the device is set.
    md
        Metadata for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    AcquisitionError
        The detector does not take a setting: the number of frames exactly, times to 1 %.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; at least one frame is needed")
    start = {
        "plan_name": "xpcs_series",
        "detectors": [detector.name],
        "plan_args": {"detector": detector.name, "num_frames": num_frames, "acquire_period": acquire_period},
        **(md or {}),
    }
    yield from camera_settings(detector, num_frames, acquire_period, acquire_time)
    return (
        yield from one_series(
            detector,
            start,
            lambda: bps.collect_while_completing(
                [detector], [detector], flush_period=_FLUSH_PERIOD_S, stream_name="primary"
            ),
            reason=lambda: detector.verdict,
            write_raw=write_raw,
        )
    )
