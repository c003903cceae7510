"""Conformance suites: what every implementation of a protocol must pass, real or simulated.

Inherit a suite in a pytest module. Each is loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._executor import ExecutorConformance
    from ._facility import FacilityConformance
    from ._frame_source import Feed, FrameSourceConformance
    from ._transfer import TransferConformance

__all__ = [
    "ExecutorConformance",
    "FacilityConformance",
    "Feed",
    "FrameSourceConformance",
    "TransferConformance",
]

_MODULES = {
    "ExecutorConformance": "_executor",
    "FacilityConformance": "_facility",
    "Feed": "_frame_source",
    "FrameSourceConformance": "_frame_source",
    "TransferConformance": "_transfer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
