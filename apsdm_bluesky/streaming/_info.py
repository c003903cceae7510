"""What is known when an acquisition begins."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionInfo:
    """What is known when an acquisition begins.

    Parameters
    ----------
    expected
        Frames asked for.
    frame_shape, dtype
        (ny, nx) and numpy name of the pixel type.
    period_s
        Time between frames [s]; 0 where unknown.
    frames_per_message
        Frames that the source sends in one message; its last one may bring fewer.
    events
        Whether it sends packed events (`EventFrame`) and consumers get `EventBatch`, or images.
    """

    expected: int
    frame_shape: tuple[int, int]
    dtype: str
    period_s: float
    frames_per_message: int = 1
    events: bool = False

    @property
    def messages(self) -> int:
        """Messages that bring the expected frames."""
        return -(-self.expected // self.frames_per_message)
