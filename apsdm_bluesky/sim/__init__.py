"""A simulated beamline with a known answer: a diffusing sample, an IOC and Globus in processes of their own.

Importing this room loads no EPICS library, for `isolate_epics` must run before they are.
"""

from ._ports import isolate_epics
from ._process import DetectorProcess
from ._settings import Fault
from ._speckle import SpeckleSample
from .globus import GlobusProcess

__all__ = ["DetectorProcess", "Fault", "GlobusProcess", "SpeckleSample", "isolate_epics"]
