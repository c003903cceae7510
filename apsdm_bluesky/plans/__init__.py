"""Bluesky plans."""

from ._converged import acquire_until_converged
from ._xpcs import xpcs_series

__all__ = ["acquire_until_converged", "xpcs_series"]
