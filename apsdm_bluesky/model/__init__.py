"""Messages that rooms hand to each other: frozen, slotted, keyword-only."""

from ._archive import ArchivedRun, BundleMember, Manifest, StoredFile
from ._fates import AcquisitionLedger, ConsumerLedger
from ._frames import (
    COUNT_BITS,
    FRAME_SHIFT,
    PIXEL_BITS,
    PIXEL_SHIFT,
    Batch,
    CorruptFrame,
    EventBatch,
    EventFrame,
    Frame,
    FrameBatch,
)

__all__ = [
    "COUNT_BITS",
    "FRAME_SHIFT",
    "PIXEL_BITS",
    "PIXEL_SHIFT",
    "AcquisitionLedger",
    "ArchivedRun",
    "Batch",
    "BundleMember",
    "ConsumerLedger",
    "CorruptFrame",
    "EventBatch",
    "EventFrame",
    "Frame",
    "FrameBatch",
    "Manifest",
    "StoredFile",
]
