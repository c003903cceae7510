"""What `demo` and `replay` tell at their end, read back from the catalogue."""

from typing import Any

from rich.console import Console
from rich.table import Table

from apsdm_bluesky.archive import Record
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.session import Session
from apsdm_bluesky.sim import SpeckleSample

from ._services import Services
from ._tables import mask_of, masked, numbers, rates


def build_report(session: Session, uid: str, record: Record, tiled_uri: str) -> dict[str, Any]:
    """The JSON object: numbers only, NaN as null."""
    (reducer,) = session.reducers.values()
    if reducer.last is None or reducer.last.uid is None:
        raise ReductionError(f"run {uid}: has no analysis")
    raw, processed = session.catalog["raw"][uid], session.catalog["processed"][reducer.last.uid]
    result, reduction, qmap = processed["primary"], processed["ledger"], processed["qmap"]
    ledger = raw["ledger"]
    name = next(iter(session.devices))
    q = _only(result, "q")
    return {
        "raw_uid": uid,
        "processed_uid": reducer.last.uid,
        "scan_id": raw.metadata["start"]["scan_id"],
        "verdict": raw.metadata["stop"]["reason"],
        "frames": {
            "expected": int(_only(ledger, f"{name}_expected")),
            "received": int(_only(ledger, f"{name}_accepted")),
            "reduced": int(_only(reduction, "done")),
            "stored": int(_only(ledger, f"{name}_stored")),
            "dropped": int(_only(reduction, "dropped")) + int(_only(ledger, f"{name}_storage_dropped")),
            "missing": int(_only(ledger, f"{name}_missing")),
            "corrupt": int(_only(ledger, f"{name}_corrupt")),
            "duplicate": int(_only(ledger, f"{name}_duplicate")),
        },
        "mask": mask_of(_only(qmap, "hot_pixels"), _only(qmap, "mask")),
        "g2": {
            "q": numbers(q),
            "delays": [int(delay) for delay in _only(result, "delays")],
            "values": [numbers(row) for row in _only(result, "g2").T],
            "errors": [numbers(row) for row in _only(result, "g2_err").T],
        },
        "fit": {
            "gamma": numbers(_only(result, "gamma")),
            "gamma_err": numbers(_only(result, "gamma_err")),
            **_truth(session.config, q),
        },
        "tiled_uri": tiled_uri,
        "archive": {"state": str(record.state), "sha256": record.sha256, "reason": record.reason},
    }


def _only(stream: Any, key: str) -> Any:
    """The value of a stream's one event."""
    return stream[key].read()[0]


def _truth(config: BeamlineConfig, q: Any) -> dict[str, Any]:
    if config.simulation is None or config.simulation.frames_file is not None:
        return {}
    return {"gamma_true": numbers(SpeckleSample(config.simulation).gamma(q))}


def print_report(report: dict[str, Any], config: BeamlineConfig, running: Services) -> None:
    """The table a person reads."""
    console = Console()
    table = Table(title=f"Run {report['scan_id']}", show_header=False, title_justify="left")
    frames = report["frames"]
    shown = [key for key in frames if key in _SHOWN or (frames[key] and key != "expected")]
    fates = ", ".join(f"{frames[key]} {key}" for key in shown)
    table.add_row("raw run", report["raw_uid"])
    table.add_row("result", report["processed_uid"])
    table.add_row("frames", f"{frames['expected']} expected: {fates}")
    table.add_row("masked", masked(report["mask"]))
    table.add_row("archive", f"{report['archive']['state']}  sha256 {report['archive']['sha256']}")
    console.print(table)
    console.print(rates(report))
    _addresses(console, report, config, running)


_SHOWN = {"received", "reduced", "stored", "dropped", "missing"}


def _addresses(console: Console, report: dict[str, Any], config: BeamlineConfig, running: Services) -> None:
    uri = running.uri
    if running.own_server:
        console.print(f"Look at it after 'apsdm up --home {config.folders.root}':", soft_wrap=True)
        uri = f"http://{config.server.host}:{config.server.port}"
    console.print(f"Raw      {uri}/api/v1/metadata/raw/{report['raw_uid']}", soft_wrap=True)
    console.print(f"Result   {uri}/api/v1/metadata/processed/{report['processed_uid']}", soft_wrap=True)
    console.print(f"API key  {config.folders.catalog / 'api_key'}", soft_wrap=True)
