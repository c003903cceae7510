"""`apsdm daq`: folders that are watched while detectors write into them."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.texts import shortened, time_text

from ._archive import person
from ._daq_options import (
    ArgumentOption,
    AtEndOption,
    DaqArgument,
    DestinationOption,
    ExcludeOption,
    ExperimentOption,
    HiddenOption,
    IncludeOption,
    SkipArchiveOption,
    SkipCatalogueOption,
    SkipChecksumOption,
    SkipTransferOption,
    WorkflowOption,
    begin,
    opened_daqs,
    seconds_of,
    warn_where_nobody_takes,
)
from ._job_store import print_table
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.daq import Daq, DaqStore

app = typer.Typer(help="DAQs: folders that are watched, file by file.", no_args_is_help=True)

_REASON, _SOURCE = 60, 50
_DAY_S = 86400.0


@app.command("start")
def start(
    folder: Annotated[Path, typer.Argument(help="Where the detector writes.")],
    config: ConfigOption = None,
    home: HomeOption = None,
    experiment: ExperimentOption = None,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    hidden: HiddenOption = False,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Not the files that are there already.")
    ] = False,
    destination: DestinationOption = None,
    workflow: WorkflowOption = None,
    argument: ArgumentOption = None,
    at_end: AtEndOption = False,
    max_run_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop by itself then: 90s, 30min, 12h, 2d.")
    ] = None,
    upload_on_exit: Annotated[
        bool, typer.Option("--upload-on-exit", help="When it stops, look through the whole folder once more.")
    ] = False,
    skip_transfer: SkipTransferOption = False,
    skip_checksum: SkipChecksumOption = False,
    skip_catalogue: SkipCatalogueOption = False,
    skip_archive: SkipArchiveOption = False,
    as_json: JsonOption = False,
) -> None:
    """Have the agent watch a folder and take each file that is complete; print the DAQ's id."""
    from apsdm_bluesky.daq import Kind

    settings = configured(config, home)
    with opened_daqs(settings) as store:
        daq = begin(
            settings,
            store,
            Kind.DAQ,
            folder,
            experiment,
            workflow,
            argument,
            at_end,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            hidden=hidden,
            existing=not new_only,
            destination=destination or "",
            max_run_time_s=None if max_run_time is None else seconds_of(max_run_time),
            upload_on_exit=upload_on_exit,
            skip_transfer=skip_transfer,
            skip_checksum=skip_checksum,
            skip_catalogue=skip_catalogue,
            skip_archive=skip_archive,
        )
    print(daq_json(daq) if as_json else daq.id)
    warn_where_nobody_takes(settings)


@app.command("ls")
def list_daqs(
    config: ConfigOption = None,
    home: HomeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Of any age.")] = False,
    experiment: Annotated[str | None, typer.Option(help="Those of this experiment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the latest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List DAQs and uploads, the latest first: those that go on, and those of the last day."""
    settings = configured(config, home)
    with opened_daqs(settings) as store:
        found = _listed(store, experiment, limit, everything=everything)
    if experiment is not None and not found:
        _check_known(settings, experiment)
    if as_json:
        print(json.dumps({"daqs": [asdict(daq) for daq in found]}, default=str))
    elif found:
        headings = (
            "id",
            "kind",
            "state",
            "experiment",
            "age",
            "taken",
            "waits",
            "problems",
            "source",
            "reason",
        )
        print_table(headings, [_row(daq) for daq in found])
    else:
        print(
            "none of the last day; --all lists older ones" if not everything else "no DAQ and no upload yet"
        )


@app.command("stop")
def stop(
    daq: DaqArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it has ended; exit code 1 where files were not taken.")
    ] = False,
) -> None:
    """Have it look for no new files, and bring what it has seen to its end."""
    from apsdm_bluesky.daq import ACTIVE, check_end

    settings = configured(config, home)
    with opened_daqs(settings) as store:
        found = store.stop(daq, actor=person())
        print(f"{found.kind} {found.id}: {found.state}", flush=True)
        if wait:
            from ._daq_follow import follow

            check_end(follow(settings, store, found.id))
        elif found.state in ACTIVE:
            warn_where_nobody_takes(settings)


@app.command("cancel")
def cancel(daq: DaqArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Have it end at once. What it has taken stays taken, the rest stays where it is."""
    from apsdm_bluesky.daq import ACTIVE

    with opened_daqs(configured(config, home)) as store:
        before = store.get(daq)
        found = store.cancel(daq, actor=person())
    ended = "" if before.state in ACTIVE else "had ended already: "
    print(f"{found.kind} {found.id}: {ended}{found.state}")


def daq_json(daq: "Daq") -> str:
    """A DAQ or an upload as JSON."""
    return json.dumps({"daq": asdict(daq)}, default=str)


def _check_known(settings: "BeamlineConfig", experiment: str) -> None:
    """Refuse a name with a slip of the pen."""
    from apsdm_bluesky.experiments import chosen_experiment

    chosen_experiment(settings, experiment)


def _listed(store: "DaqStore", experiment: str | None, limit: int, *, everything: bool) -> "Sequence[Daq]":
    from apsdm_bluesky.daq import ACTIVE

    latest = store.list(experiment=experiment, limit=limit)
    if everything:
        return latest
    since = time.time() - _DAY_S
    recent = [daq for daq in latest if (daq.ended or daq.created) > since]
    active = store.list(experiment=experiment, states=ACTIVE, limit=limit)
    return _latest([*active, *recent])[:limit]


def _latest(found: "Iterable[Daq]") -> "Sequence[Daq]":
    one_each = {daq.id: daq for daq in found}
    return sorted(one_each.values(), key=lambda daq: (-daq.created, daq.id))


def _row(daq: "Daq") -> Sequence[str]:
    from apsdm_bluesky.daq import not_taken

    counts = daq.counts
    numbers = (str(counts.taken), str(counts.waiting), str(not_taken(counts)))
    place = (daq.experiment, time_text(time.time() - daq.created))
    told = (shortened(str(daq.source), _SOURCE), shortened(daq.reason, _REASON))
    return (daq.id[:8], daq.kind, daq.state, *place, *numbers, *told)
