"""Moving files to an archive and back: the `Transfer` protocol, a folder and Globus as destinations."""

from ._globus import Globus
from ._globus_check import Check, check_globus
from ._globus_errors import login_needed, reason_of
from ._globus_login import LOGIN_COMMAND, ask_login, log_in, open_app, patience
from ._globus_pace import PollPace
from ._globus_session import GlobusSession
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
    "LOGIN_COMMAND",
    "Check",
    "Direction",
    "Globus",
    "GlobusSession",
    "LocalFolder",
    "PollPace",
    "RemoteFile",
    "Residency",
    "TaskReport",
    "TaskStatus",
    "Transfer",
    "TransferItem",
    "TransferRequest",
    "ask_login",
    "check_globus",
    "log_in",
    "login_needed",
    "open_app",
    "patience",
    "reason_of",
    "resolve_inside",
]
