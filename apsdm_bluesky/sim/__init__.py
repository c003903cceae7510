"""A simulated beamline with a known answer: a diffusing sample, an IOC and Globus in processes of their own.

Importing this room loads no EPICS library, for `isolate_epics` must run before they are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._ports import isolate_epics
from ._process import DetectorProcess
from ._settings import Fault
from .globus import GlobusProcess

if TYPE_CHECKING:
    from ._speckle import SpeckleSample

__all__ = ["DetectorProcess", "Fault", "GlobusProcess", "SpeckleSample", "isolate_epics"]


def __getattr__(name: str) -> Any:
    if name != "SpeckleSample":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(
        "._speckle", __name__
    ).SpeckleSample  # it loads numba, which Globus' process needs not
