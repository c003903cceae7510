"""Messages that rooms hand to each other: frozen, slotted, keyword-only."""

from ._fates import AcquisitionLedger, ConsumerLedger
from ._frames import Frame, FrameBatch

__all__ = ["AcquisitionLedger", "ConsumerLedger", "Frame", "FrameBatch"]
