"""What a step scan reads at each point."""

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, FrameBatch
from apsdm_bluesky.streaming import AcquisitionInfo


class PointCounts:
    """A consumer that adds up the counts of a point's frames."""

    name = "point counts"

    def __init__(self) -> None:
        self.total = 0.0
        self.frames = 0
        self.missing = 0

    def begin(self, info: AcquisitionInfo) -> None:
        """Nothing to prepare."""

    def consume(self, batch: Batch) -> None:
        """Add up."""
        counts = batch.frames if isinstance(batch, FrameBatch) else batch.counts
        self.total += float(counts.sum(dtype=float))
        self.frames += len(batch)

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:  # noqa: ARG002 - protocol
        """Keep what did not come."""
        self.missing = acquisition.expected - acquisition.accepted

    def values(self) -> dict[str, float | int]:
        """Mean counts a frame, frames taken, frames missing."""
        return {
            "total": self.total / self.frames if self.frames else float("nan"),
            "frames": self.frames,
            "missing": self.missing,
        }
