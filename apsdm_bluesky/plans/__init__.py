"""Bluesky plans."""

from ._converged import acquire_until_converged
from ._jobs import Jobs, start_job, wait_for_job
from ._xpcs import xpcs_series

__all__ = ["Jobs", "acquire_until_converged", "start_job", "wait_for_job", "xpcs_series"]
