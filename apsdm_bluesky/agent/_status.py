"""What the agent has done, as anybody may see it."""

from dataclasses import asdict
from typing import Any

from apsdm_bluesky.archive import WORKING, AgentLock, Ledger, State
from apsdm_bluesky.config import BeamlineConfig

from ._watchdog import stuck_bundles, stuck_text


def archive_status(config: BeamlineConfig) -> dict[str, Any]:
    """The archive as it stands, as JSON-able values.

    Returns
    -------
    `running` (the agent's pid, host and since when, or None), `counts` of runs by state, `bundles` that are
    not verified and `readings` (restores, verifications, drills) that have not ended (a mapping each),
    `stuck` (what has not moved for `archive.stuck_h`, a text each).
    """
    folder = config.folders.archive
    holder = AgentLock(folder).holder()
    if not folder.is_dir():
        return {"running": holder, "counts": {}, "bundles": [], "readings": [], "stuck": []}
    ledger = Ledger(folder, config.archive.database)
    try:
        counts = {state.value: number for state, number in ledger.runs.counts().items()}
        stuck = [stuck_text(record) for record in stuck_bundles(ledger, config.archive.stuck_h * 3600)]
        bundles = [asdict(record) for record in ledger.list(*WORKING, State.QUARANTINED)]
        readings = [asdict(reading) for reading in ledger.readings.unfinished()]
    finally:
        ledger.close()
    return {
        "running": holder,
        "counts": counts,
        "bundles": bundles,
        "readings": readings,
        "stuck": stuck,
    }


def agent_runs(config: BeamlineConfig) -> bool:
    """Whether an agent works on this beamline's state folder."""
    return AgentLock(config.folders.archive).holder() is not None
