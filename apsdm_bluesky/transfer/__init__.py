"""Moving files to an archive and back: the `Transfer` protocol, and a folder as the destination."""

from ._local import LocalFolder
from ._paths import resolve_inside
from ._protocol import (
    Direction,
    RemoteFile,
    Residency,
    TaskReport,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
)

__all__ = [
    "Direction",
    "LocalFolder",
    "RemoteFile",
    "Residency",
    "TaskReport",
    "TaskStatus",
    "Transfer",
    "TransferItem",
    "TransferRequest",
    "resolve_inside",
]
