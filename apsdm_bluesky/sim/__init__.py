"""A simulated beamline with a known answer: a diffusing sample, and an areaDetector IOC in its own process.

Importing this room loads no EPICS library, for `isolate_epics` must run before they are.
"""

from ._ports import isolate_epics
from ._process import DetectorProcess
from ._settings import Fault
from ._speckle import SpeckleSample

__all__ = ["DetectorProcess", "Fault", "SpeckleSample", "isolate_epics"]
