"""What the agent has done, as anybody may see it."""

from dataclasses import asdict
from typing import Any

from apsdm_bluesky.archive import WORKING, AgentLock, Ledger, State
from apsdm_bluesky.config import BeamlineConfig


def archive_status(config: BeamlineConfig) -> dict[str, Any]:
    """The archive as it stands, as JSON-able values.

    Returns
    -------
    `running` (the agent's pid, host and since when, or None), `counts` of runs by state, `bundles` that are
    not verified (a mapping each).
    """
    folder = config.folders.archive
    holder = AgentLock(folder).holder()
    if not folder.is_dir():
        return {"running": holder, "counts": {}, "bundles": []}
    ledger = Ledger(folder, config.archive.database)
    try:
        counts = {state.value: number for state, number in ledger.runs.counts().items()}
        bundles = [asdict(record) for record in ledger.list(*WORKING, State.QUARANTINED)]
    finally:
        ledger.close()
    return {"running": holder, "counts": counts, "bundles": bundles}


def agent_runs(config: BeamlineConfig) -> bool:
    """Whether an agent works on this beamline's state folder."""
    return AgentLock(config.folders.archive).holder() is not None
