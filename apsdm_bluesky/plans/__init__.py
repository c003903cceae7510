"""Bluesky plans."""

from ._xpcs import xpcs_series

__all__ = ["xpcs_series"]
