"""`apsdm archive`: what is archived, and what is to be done about it."""

import getpass
import json
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.texts import moment, plain, size_text

from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apsdm_bluesky.archive import Ledger, Record, RunEntry
    from apsdm_bluesky.config import BeamlineConfig

app = typer.Typer(help="What is archived, and what is to be done about it.", no_args_is_help=True)

_DAY_S = 86400.0
_DATE = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

UidArgument = Annotated[str, typer.Argument(metavar="UID", help="A run's uid, or how it begins.")]


@app.command("ls")
def list_runs(
    config: ConfigOption = None,
    home: HomeOption = None,
    run: Annotated[str | None, typer.Option(help="Runs whose uid begins so.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Runs in this state; may be repeated.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Runs of this experiment.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_DATE, help="Runs that began then or later, UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_DATE, help="Runs that began before, UTC.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the latest first.")] = 50,
    expiring: Annotated[
        bool,
        typer.Option("--expiring", help="Bundles that the destination may soon remove, instead of runs."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List archived runs, and those that wait, the latest first."""
    from apsdm_bluesky.archive import RunFilter, State

    if expiring:
        _list_expiring(configured(config, home), as_json)
        return
    try:
        states = tuple(State(name.upper()) for name in state or ())
    except ValueError:
        raise typer.BadParameter(f"give one of {', '.join(State)}", param_hint="--state") from None
    wanted = RunFilter(
        uid=run, states=states, experiment=experiment, since=epoch(since), until=epoch(until), limit=limit
    )
    with opened(config, home) as ledger:
        entries = ledger.runs.list(wanted)
        counts = ledger.runs.counts()
    if as_json:
        print(json.dumps({"runs": [asdict(entry) for entry in entries], "counts": counts}))
        return
    _print_runs(entries)
    print(
        ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing is archived yet"
    )


@app.command("show")
def show(
    uid: UidArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="With a bar, until nothing more is done.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell all of a run's archive: bundles, evidence, history."""
    with opened(config, home) as ledger:
        entry = find_run(ledger, uid)
        if follow:
            from ._archive_follow import follow_run

            follow_run(ledger, entry.uid, configured(config, home).folders.archive)
            entry = find_run(ledger, entry.uid)
        bundles = ledger.bundles_of(entry.uid)
        uids = list(dict.fromkeys([entry.uid, *(bundle.uid for bundle in bundles)]))
        history = [line for name in uids for line in ledger.history(name)]
    if as_json:
        found = {"run": asdict(entry), "bundles": [asdict(one) for one in bundles]}
        print(json.dumps(found | {"history": [asdict(line) for line in history]}))
        return
    _print_run(entry, bundles)
    for line in sorted(history, key=lambda one: one.time):
        change = f"{line.from_state or '-'} -> {line.to_state}"
        print(f"  {moment(line.time)}  {line.event:18} {change:26} {line.actor}")


@app.command("pin")
def pin(
    uid: UidArgument,
    days: Annotated[float, typer.Option(min=0, help="From now; 0 takes the pin off.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Keep a run's local data for some days, whatever else would allow their release."""
    with opened(config, home) as ledger:
        entry = find_run(ledger, uid)
        until = time.time() + days * _DAY_S if days else None
        ledger.runs.pin(entry.uid, until)
    print(f"run {entry.uid}: " + ("no pin any more" if until is None else f"pinned until {moment(until)}"))


@app.command("resume")
def resume(uid: UidArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Have a run that is PARKED or QUARANTINED tried again, after what its reason asks for was done."""
    from apsdm_bluesky.archive import Resumed, State, resume_readings

    with opened(config, home) as ledger:
        entry = find_run(ledger, uid)
        stuck = [
            bundle
            for bundle in ledger.bundles_of(entry.uid)
            if bundle.state in (State.PARKED, State.QUARANTINED)
        ]
        read = resume_readings(ledger, entry.uid, actor=person())
        for reading in read:
            print(f"bundle {reading.bundle}: is read back, {reading.state}; the agent goes on with it")
        if not stuck and not read:
            raise ApsdmError(
                f"run {entry.uid}: is {entry.state}; only what is parked or quarantined is resumed"
            )
        for bundle in stuck:
            after = ledger.apply(bundle.uid, Resumed(), actor=person())
            print(f"bundle {bundle.uid}: {after.state}, the agent goes on with it")


@contextmanager
def opened(config: Path | None, home: Path | None) -> "Iterator[Ledger]":
    """The ledger of the configured beamline."""
    from apsdm_bluesky.archive import Ledger

    settings = configured(config, home)
    ledger = Ledger(settings.folders.archive, settings.archive.database)
    try:
        yield ledger
    finally:
        ledger.close()


def find_run(ledger: "Ledger", uid: str) -> "RunEntry":
    """The run whose uid begins so.

    Raises
    ------
    ApsdmError
        There is none, or there are several.
    """
    from apsdm_bluesky.archive import RunFilter

    found = ledger.runs.list(RunFilter(uid=uid, limit=2))
    exact = [entry for entry in found if entry.uid == uid]
    if len(exact or found) == 1:
        return (exact or list(found))[0]
    if found:
        raise ApsdmError(
            f"run {uid}: several begin so, {found[0].uid} and {found[1].uid} among them; give more"
        )
    raise ApsdmError(f"run {uid}: the archive knows none; 'apsdm archive ls' lists them")


def person() -> str:
    """Who the history names for what is done on the command line."""
    return f"{getpass.getuser()} (command line)"


def _list_expiring(settings: "BeamlineConfig", as_json: bool) -> None:
    from apsdm_bluesky.archive import expiring_of

    found = expiring_of(settings)
    if as_json:
        print(json.dumps({"expiring": [{"ends": one.ends, "bundle": asdict(one.bundle)} for one in found]}))
        return
    for one in found:
        place = f"{one.bundle.collection}:{one.bundle.destination}"
        print(plain(f"{moment(one.ends)}  {place}  {' '.join(one.bundle.runs)}"))
    if not found:
        print("no bundle's retention ends soon")


def _print_runs(entries: "Sequence[RunEntry]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not entries:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("began (UTC)", "run", "experiment", "size", "state", "local", "reason"):
        one_line = heading != "reason"
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=one_line)
    for entry in entries:
        place = "(analysis)" if entry.raw_uid else entry.local.lower()
        cells = (moment(entry.started)[:-3], entry.uid[:8], entry.experiment or "-", size_text(entry.size))
        texts = (*cells, entry.state, place, entry.reason or entry.local_reason)
        table.add_row(*(Text(plain(text)) for text in texts))
    Console(highlight=False).print(table)


def _print_run(entry: "RunEntry", bundles: "Sequence[Record]") -> None:
    print(f"run {entry.uid}: {entry.state}")
    experiment = f"experiment {plain(entry.experiment or '-')}"
    print(f"  began      {moment(entry.started)}    {size_text(entry.size)}    {experiment}")
    pinned = f", pinned until {moment(entry.pinned_until)}" if entry.pinned_until else ""
    print(f"  local copy {entry.local.lower()}{pinned}  {entry.local_reason}".rstrip())
    for bundle in bundles:
        part = f" (part {bundle.part} of {bundle.parts})" if bundle.parts > 1 else ""
        company = f", with {len(bundle.runs) - 1} other runs" if len(bundle.runs) > 1 else ""
        print(f"  bundle     {bundle.collection}:{bundle.destination or bundle.uid}{part}{company}")
        print(f"             {bundle.state}, {size_text(bundle.size)}, sha256 {bundle.sha256 or '-'}")
        print(f"             evidence {_evidence(bundle)}; residency {bundle.residency}")
        if bundle.reason:
            print(plain(f"             {bundle.reason}"))
    if not bundles and entry.reason:
        print(plain(f"  {entry.reason}"))


def _evidence(bundle: "Record") -> str:
    return f"{bundle.evidence} of {moment(bundle.verified)}" if bundle.evidence else "none yet"


def epoch(date: datetime | None) -> float | None:
    """A date of the command line, which is UTC, in seconds since the Unix epoch."""
    return None if date is None else date.replace(tzinfo=UTC).timestamp()
