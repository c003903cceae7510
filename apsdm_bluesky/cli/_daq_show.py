"""`apsdm daq show`: where a DAQ or an upload stands, and which files make trouble."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.texts import moment, plain, shortened, size_text, time_text, value_text

from ._daq_options import DaqArgument, opened_daqs, warn_where_nobody_takes
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.daq import Daq, DaqFile, DaqReport, DaqStore, FileState, Notice

_WIDE = 160
_NARROW = 60


def show(
    daq: DaqArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    files: Annotated[
        str | None,
        typer.Option(
            metavar="STATE,...",
            help="List files instead, those in these states; 'problems': those not taken; 'all'.",
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --files: names after this one.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many files of a kind at most.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Until it has ended; then tell all.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell where a DAQ or an upload stands, what waits, and which files were not taken and why."""
    from apsdm_bluesky.daq import ACTIVE, DaqReport

    states = _states(files)
    if after is not None and files is None:
        raise typer.BadParameter("says nothing without --files", param_hint="--after")
    settings = configured(config, home)
    with opened_daqs(settings) as store:
        uid = store.get(daq).id
        if follow:
            from ._daq_follow import follow as follow_daq

            follow_daq(settings, store, uid, quiet=as_json)
        found = DaqReport.of(store, uid, limit)
        listed = None if files is None else store.files(uid, states=states, after=after, limit=limit + 1)
    if found.daq.state in ACTIVE:
        warn_where_nobody_takes(settings)
    if as_json:
        print(json.dumps(_data(found, listed, limit), default=str))
    else:
        _print([*_report(found)] if listed is None else [*_listing(listed, limit)])


def tell_problems(store: "DaqStore", daq: "Daq", limit: int = 20) -> None:
    """Print the first files that were not taken, and how many more there are."""
    from apsdm_bluesky.daq import DaqReport

    found = DaqReport.of(store, daq.id, limit)
    _print([*_files("not taken", found.problems, found.more_problems)])


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(plain(line).rstrip())


def _states(text: str | None) -> "Sequence[FileState]":
    from apsdm_bluesky.daq import PROBLEMS, FileState

    found: list[FileState] = []
    try:
        for name in text.split(",") if text not in (None, "all") else ():
            found += PROBLEMS if name.strip() == "problems" else [FileState(name.strip())]
    except ValueError:
        known = ", ".join(("problems", "all", *FileState))
        raise typer.BadParameter(f"give some of {known}", param_hint="--files") from None
    return found


def _data(found: "DaqReport", listed: "Sequence[DaqFile] | None", limit: int) -> dict[str, object]:
    told = {"daq": asdict(found.daq), "rate": found.rate}
    if listed is not None:
        return {**told, "files": [asdict(one) for one in listed[:limit]], "more": len(listed) > limit}
    return {
        **told,
        "problems": [asdict(one) for one in found.problems],
        "waiting": [asdict(one) for one in found.waiting],
        "notices": [asdict(one) for one in found.notices],
    }


def _report(found: "DaqReport") -> Iterator[str]:
    daq = found.daq
    yield f"{daq.kind} {daq.id}: {daq.state}"
    yield from (f"  {name:11} {text}" for name, text in [*_head(found), *_wanted(daq)] if text)
    yield from _files("not taken", found.problems, found.more_problems)
    yield from _files("waits", found.waiting, found.more_waiting)
    yield from _notices(found.notices)


def _head(found: "DaqReport") -> Iterator[tuple[str, str]]:
    from apsdm_bluesky.daq import ACTIVE, counts_text

    daq, active = found.daq, found.daq.state in ACTIVE
    yield "hindered by" if active else "why", daq.reason
    yield "files", counts_text(daq.counts)
    yield "rate", f"{size_text(found.rate)}/s on average" if daq.counts.bytes else ""
    yield "experiment", f"{daq.experiment} of {daq.station}"
    yield "source", str(daq.source)
    yield "to", str(daq.source if daq.options.skip_transfer else daq.root / "data" / daq.options.destination)
    yield "owner", daq.owner
    took = "" if daq.ended is None else f", ended {moment(daq.ended)} ({time_text(daq.ended - daq.created)})"
    yield "started", f"{moment(daq.created)} UTC{took}"
    yield "stops", f"{moment(daq.stop_at)} UTC" if active and daq.stop_at else ""


def _wanted(daq: "Daq") -> Iterator[tuple[str, str]]:
    options = daq.options
    yield "include", "  ".join(options.include)
    yield "exclude", "  ".join(options.exclude)
    if options.workflow:
        when = "for each file" if options.each else "once at the end"
        yield "workflow", f"{options.workflow_owner}/{options.workflow}, {when}"
    yield (
        "arguments",
        "  ".join(
            f"{name}={shortened(value_text(value), _NARROW)}" for name, value in options.arguments.items()
        ),
    )
    switches = (
        "hidden",
        "upload_on_exit",
        "skip_transfer",
        "skip_checksum",
        "skip_catalogue",
        "skip_archive",
    )
    set_ones = [name.replace("_", " ") for name in switches if getattr(options, name)]
    yield "options", ", ".join([*set_ones, *([] if options.existing else ["new files only"])])


def _files(heading: str, files: "Sequence[DaqFile]", more: int) -> Iterator[str]:
    if files:
        yield f"{heading}:"
    for one in files:
        reason = f": {one.reason}" if one.reason else ""
        yield f"  {one.state:9} {shortened(one.name, _WIDE)} ({size_text(one.size)}){reason}"
    if more:
        yield f"  and {more} more; --limit shows more of them"


def _listing(files: "Sequence[DaqFile]", limit: int) -> Iterator[str]:
    for one in files[:limit]:
        version = f" version {one.version}" if one.version > 1 else ""
        run = f" run {one.run[:8]}" if one.run else ""
        reason = f": {one.reason}" if one.reason else ""
        yield f"{one.state:10} {size_text(one.size):>9} {one.name}{version}{run}{reason}"
    if not files:
        yield "no such file"
    if len(files) > limit:
        yield f"and more; --limit shows more of them, --after {files[limit - 1].name!r} the next ones"


def _notices(notices: "Sequence[Notice]") -> Iterator[str]:
    if notices:
        yield "what happened (UTC):"
    for one in notices:
        yield f"  {moment(one.time)}  {f'{one.name}: ' if one.name else ''}{shortened(one.text, _WIDE)}"
