"""Messages that rooms hand to each other: frozen, slotted, keyword-only."""

from ._fates import AcquisitionLedger, ConsumerLedger
from ._frames import CorruptFrame, Frame, FrameBatch

__all__ = ["AcquisitionLedger", "ConsumerLedger", "CorruptFrame", "Frame", "FrameBatch"]
