"""Every test process has EPICS ports of its own. This must come before any EPICS library is loaded."""

from apsdm_bluesky.sim import isolate_epics

isolate_epics()
