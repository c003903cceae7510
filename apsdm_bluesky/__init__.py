"""Data management for synchrotron beamlines as a Bluesky plugin suite.

Importing this package does no work and loads nothing heavy; `open_session` is loaded when first used.
"""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .session import Session, open_session

__all__ = ["Session", "open_session"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import session

    return getattr(session, name)
