"""Follow a run through the archive, with a bar."""

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from apsdm_bluesky.archive import Ledger, Record, State, progress_of

_POLL_S = 0.3
_SETTLED = (State.VERIFIED, State.QUARANTINED)


def follow_run(ledger: Ledger, run: str, folder: Path) -> None:
    """Return when nothing more is done for the run's bundles by itself; on a terminal a bar shows each."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:40}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, object] = {}
        while not _look(ledger, run, folder, bars, tasks):
            time.sleep(_POLL_S)


def _look(ledger: Ledger, run: str, folder: Path, bars: Progress, tasks: dict[str, object]) -> bool:
    bundles = ledger.bundles_of(run)
    entry = ledger.runs.get(run)
    for bundle in bundles:
        stage = progress_of(folder).read(bundle.uid)
        total = (stage and stage.total) or bundle.size or (entry.size if entry else None)
        if bundle.uid not in tasks:
            tasks[bundle.uid] = bars.add_task("", total=total)
        done = stage.done if stage else total if bundle.state is State.VERIFIED else 0
        doing = f"{bundle.uid[:20]} {bundle.state} {stage.doing if stage else ''}"
        bars.update(tasks[bundle.uid], description=doing, completed=done or 0, total=total)  # type: ignore[arg-type]
    return bool(bundles) and all(_settled(bundle) for bundle in bundles)


def _settled(bundle: Record) -> bool:
    return bundle.state in _SETTLED or (bundle.state is State.PARKED and bundle.needs_person)
