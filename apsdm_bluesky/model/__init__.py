"""Messages that rooms hand to each other: frozen, slotted, keyword-only."""

from ._archive import ArchivedRun, BundleMember, Manifest
from ._fates import AcquisitionLedger, ConsumerLedger
from ._frames import CorruptFrame, Frame, FrameBatch

__all__ = [
    "AcquisitionLedger",
    "ArchivedRun",
    "BundleMember",
    "ConsumerLedger",
    "CorruptFrame",
    "Frame",
    "FrameBatch",
    "Manifest",
]
