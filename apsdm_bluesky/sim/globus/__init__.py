"""A stand-in for Globus Transfer, Compute and Auth, over HTTP on loopback, to which the real SDK talks."""

from ._plan import FaultPlan
from ._process import GlobusProcess
from ._settings import Behaviour

__all__ = ["Behaviour", "FaultPlan", "GlobusProcess"]
