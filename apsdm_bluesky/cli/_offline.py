"""Frames that are already there, through the analysis that a live series goes through."""

import threading
from collections.abc import Callable

from apsdm_bluesky.callbacks import SeriesAnalysis
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.formats import FrameSeries, Recording
from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger
from apsdm_bluesky.sources import ReplaySource
from apsdm_bluesky.streaming import AcquisitionInfo, FrameAudit, Lane, Receiver, Ring

_BATCH_FRAMES = 256
_RING_BYTES = 256 * 2**20
_POLL_S = 0.05

Tell = Callable[[int], None]  # takes the number of frames reduced so far


def info_of(frames: FrameSeries | Recording) -> AcquisitionInfo:
    """What a detector would have announced of these frames."""
    recorded = frames.acquisition if isinstance(frames, Recording) else None
    return AcquisitionInfo(
        expected=frames.frames,
        frame_shape=frames.shape,
        dtype=recorded.dtype if recorded else str(frames.dtype),  # type: ignore[union-attr]
        period_s=frames.period_s or 0.0,
        frames_per_message=recorded.frames_per_message if recorded else 1,
        events=frames.events,
    )


def reduce_frames(
    analysis: SeriesAnalysis,
    frames: FrameSeries | Recording,
    *,
    ledger: AcquisitionLedger | None = None,
    tell: Tell,
) -> AcquisitionLedger:
    """Reduce them to `analysis.result`; returns what became of them before the reduction.

    Parameters
    ----------
    ledger
        The acquisition's own account; without it, every frame that is not there is missing.

    Raises
    ------
    ApsdmError
        A frame cannot be read, or reduced; or there is none.
    """
    if isinstance(frames, Recording):
        acquisition = _play(analysis, frames, tell)
    else:
        acquisition = _read(analysis, frames, ledger, tell)
    if analysis.result is None:
        reason = analysis.fate.reason if analysis.fate else "it did not end"
        raise ReductionError(f"{analysis.name}: {reason}")
    return acquisition


def _read(
    analysis: SeriesAnalysis, frames: FrameSeries, ledger: AcquisitionLedger | None, tell: Tell
) -> AcquisitionLedger:
    audit = FrameAudit(expected=frames.frames, base_id=0)
    analysis.begin(info_of(frames))
    for batch in frames.batches(_BATCH_FRAMES):
        analysis.consume(batch)
        for index in batch.indices:
            audit.admit(int(index) + 1)
        tell(audit.accepted)
    acquisition = ledger or audit.ledger()
    lost = acquisition.accepted - audit.accepted
    analysis.end(
        acquisition,
        ConsumerLedger(
            accepted=acquisition.accepted,
            done=audit.accepted,
            dropped=lost,
            reason="not stored" if lost else "",
        ),
    )
    return acquisition


def _play(analysis: SeriesAnalysis, recording: Recording, tell: Tell) -> AcquisitionLedger:
    """A recording's messages take the way that they took when they came."""
    info = info_of(recording)
    source, lane = ReplaySource(recording, speed=0), Lane(analysis, "block")
    receiver = Receiver(info, base_id=recording.base_id, pool=Ring(_RING_BYTES).pool(info), lanes=[lane])
    pause = threading.Event()
    try:
        source.start(receiver, queue_size=info.messages)
        while source.playing:
            pause.wait(_POLL_S)
            tell(receiver.accepted)
    finally:
        receiver.close()
        source.stop()
        lane.join()
    if source.failure is not None:
        raise source.failure
    return receiver.ledger
