"""Every test process has EPICS ports of its own. This must come before any EPICS library is loaded."""

from hypothesis import HealthCheck, settings

from apsdm_bluesky.sim import isolate_epics
from tests.globus import globus, globus_process

__all__ = ["globus", "globus_process"]

isolate_epics()

# Both are about time, and no test of ours fails because the machine is busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
