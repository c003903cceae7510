"""Every test process has EPICS ports of its own. This must come before any EPICS library is loaded."""

import signal

from hypothesis import HealthCheck, settings

from apsdm_bluesky.sim import isolate_epics
from tests.globus import globus, globus_process

__all__ = ["globus", "globus_process"]

isolate_epics()

# Both are about time, and no test of ours fails because the machine is busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Started in the background they ignore SIGINT, and so would every command that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
