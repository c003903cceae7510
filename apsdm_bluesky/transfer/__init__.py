"""Moving files to an archive and back: the `Transfer` protocol, a folder and Globus as destinations."""

from ._globus import Globus
from ._globus_check import Check, check_globus
from ._globus_login import log_in
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
    "Check",
    "Direction",
    "Globus",
    "LocalFolder",
    "RemoteFile",
    "Residency",
    "TaskReport",
    "TaskStatus",
    "Transfer",
    "TransferItem",
    "TransferRequest",
    "check_globus",
    "log_in",
    "resolve_inside",
]
