"""The fate of every frame, as numbers that add up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionLedger:
    """What became of the frames that an acquisition asked for.

    Two sums always hold: ``expected == accepted + corrupt + missing`` and
    ``updates == accepted + duplicate + stale + corrupt``.

    Parameters
    ----------
    expected
        Frames asked for.
    accepted
        Frames taken, each once.
    corrupt
        Expected frames whose message could not be decoded.
    missing
        Expected frames that never came.
    updates
        Frames in the messages received while armed.
    duplicate
        Frames of messages that repeated one already taken.
    stale
        Frames that belong to no expected one (the value left from before, or late and out of order).
    out_of_order
        Those of the stale ones that came after a later frame, when their place had been given up as missing.
    base_id, first_id, last_id
        The source's message number before the acquisition, of the first and of the last accepted message (0:
        none). A message holds one frame, or a stack of them.
    gaps
        Runs of missing frames as (first index, length), in order.
    """

    expected: int
    accepted: int
    corrupt: int
    missing: int
    updates: int
    duplicate: int
    stale: int
    out_of_order: int
    base_id: int
    first_id: int
    last_id: int
    gaps: tuple[tuple[int, int], ...]

    @property
    def complete(self) -> bool:
        """Whether every expected frame was accepted."""
        return self.accepted == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLedger:
    """What one consumer (storage, reduction) did with the accepted frames: ``accepted == done + dropped``.

    Parameters
    ----------
    reason
        Why frames were dropped, what the consumer failed with, or why frames could not be spilled to disk.
    failed
        Whether it raised, and so takes no frames any more.
    """

    accepted: int
    done: int
    dropped: int
    reason: str = ""
    failed: bool = False
