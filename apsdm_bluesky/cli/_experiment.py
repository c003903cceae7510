"""`apsdm experiment`: who takes part, when, and where the files lie."""

import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import ExperimentError, StorageError
from apsdm_bluesky.texts import moment, plain, shortened

from ._archive import person
from ._job_store import print_table, say
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.experiments import Experiment, ExperimentStore, NewExperiment

app = typer.Typer(help="Experiments: who takes part, when, and where the files lie.", no_args_is_help=True)

_DAY = ["%Y-%m-%d"]
_USERS = 40
_DESCRIPTION = 60

NameArgument = Annotated[str, typer.Argument(help="An experiment's name.")]
StationOption = Annotated[str | None, typer.Option(help="Its station; default: the configuration's.")]


@app.command("create")
def create(
    name: Annotated[
        str, typer.Argument(help="Letters, digits, '_', '-' and '.', a letter first; at most 100.")
    ],
    config: ConfigOption = None,
    home: HomeOption = None,
    kind: Annotated[str | None, typer.Option("--type", help="The technique, such as XPCS.")] = None,
    description: Annotated[
        str | None, typer.Option(help="Default: the title of its ESAF or proposal.")
    ] = None,
    proposal: Annotated[str | None, typer.Option(help="Its number at the facility.")] = None,
    esaf: Annotated[str | None, typer.Option(help="Its number at the facility.")] = None,
    start: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="First day; default: that of its ESAF or proposal.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="Last day; default: that of its ESAF or proposal.")
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(help="A login name; may be repeated. Default: those of its ESAF and proposal."),
    ] = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an experiment, and its folder with data, analysis and system."""
    from apsdm_bluesky.experiments import NewExperiment

    settings = configured(config, home)
    new = NewExperiment(
        name=name,
        type=kind or "",
        description=description or "",
        proposal=proposal,
        esaf=esaf,
        users=tuple(user or ()),
        start=_day(start),
        end=_day(end),
    )
    filled = _filled(settings, new)
    with opened_experiments(settings, station) as store:
        made = store.create(filled, actor=person())
    if as_json:
        print(json.dumps({"experiment": _told(made)}))
        return
    print(plain(f"{made.name}: {made.root}"))
    print(f"'apsdm experiment use {made.name}' takes the next sessions' runs for it")


@app.command("ls")
def list_experiments(
    config: ConfigOption = None,
    home: HomeOption = None,
    station: Annotated[str | None, typer.Option(help="Those of this station; default: of all.")] = None,
    user: Annotated[str | None, typer.Option(help="Those in which this login name takes part.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List experiments, the latest first; a star marks the current one."""
    settings = configured(config, home)
    with opened_experiments(settings) as store:
        found = store.list(station=station, user=user)
    current = _current_or_warning(settings)
    if as_json:
        print(json.dumps({"experiments": [_told(one) for one in found], "current": current}))
    elif found:
        here = (current, settings.station)
        headings = ("", "name", "station", "type", "start", "end", "users", "description")
        print_table(headings, [_row(one, here) for one in found])
    else:
        print("no experiment; 'apsdm experiment create NAME' makes one")


@app.command("show")
def show(
    name: NameArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell all of an experiment, and what was done to it."""
    settings = configured(config, home)
    with opened_experiments(settings, station) as store:
        found = store.get(name)
        changes = store.changes(found)
    if as_json:
        told = {"experiment": _told(found), "changes": [asdict(change) for change in changes]}
        print(json.dumps(told))
        return
    for key, value in _told(found).items():
        print(plain(f"{key:<12} {_text(value)}"))
    for change in changes:
        print(plain(f"{moment(change.time)}  {change.told}  by {change.actor}"))


@app.command("add-user")
def add_user(
    name: NameArgument,
    user: Annotated[str, typer.Argument(help="A login name.")],
    config: ConfigOption = None,
    home: HomeOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have somebody take part in an experiment."""
    with opened_experiments(configured(config, home), station) as store:
        changed = store.add_user(name, user, actor=person())
    print(json.dumps({"experiment": _told(changed)}) if as_json else plain(f"{name}: {_people(changed)}"))


@app.command("use")
def use(
    name: Annotated[str | None, typer.Argument(help="An experiment's name.", show_default=False)] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    none: Annotated[bool, typer.Option("--none", help="No experiment goes on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose the current experiment: every session that is opened from now on takes its runs for it."""
    if (name is None) != none:
        raise typer.BadParameter("give either NAME or --none", param_hint="NAME")
    choose(configured(config, home), name)
    if as_json:
        print(json.dumps({"current": name}))
    else:
        print("no experiment goes on" if name is None else f"{name} is the current experiment")


def choose(settings: "BeamlineConfig", name: str | None) -> None:
    """Have this experiment be the current one, or none.

    Raises
    ------
    ExperimentError
        It is not known at the station.
    """
    from apsdm_bluesky.experiments import CurrentExperiment

    current = CurrentExperiment(settings.folders.experiments)
    if name is None:
        current.clear()
        return
    with opened_experiments(settings) as store:
        current.set(store.get(name).name)


@contextmanager
def opened_experiments(settings: "BeamlineConfig", station: str | None = None) -> "Iterator[ExperimentStore]":
    """The experiments of the configured beamline."""
    from apsdm_bluesky.experiments import open_experiments

    store = open_experiments(settings, station=station)
    try:
        yield store
    finally:
        store.close()


def _filled(settings: "BeamlineConfig", new: "NewExperiment") -> "NewExperiment":
    """With what its proposal and ESAF tell; those who take part and have no login name are told on stderr."""
    from apsdm_bluesky.experiments import open_facility, with_facility

    if new.proposal is None and new.esaf is None:
        return new
    filled, nameless = with_facility(new, open_facility(settings))
    for one in nameless:
        say(
            f"{one.first_name} {one.last_name} (badge {one.badge}) has no login name at the facility; "
            f"'apsdm experiment add-user {new.name} USER' adds it"
        )
    return filled


def _current(settings: "BeamlineConfig") -> str | None:
    from apsdm_bluesky.experiments import CurrentExperiment

    return CurrentExperiment(settings.folders.experiments).get()


def _current_or_warning(settings: "BeamlineConfig") -> str | None:
    """The current one; where its file is damaged, that is told and the list comes all the same."""
    try:
        return _current(settings)
    except (ExperimentError, StorageError) as error:
        say(str(error))
        return None


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def _told(one: "Experiment") -> dict[str, Any]:
    """For JSON."""
    values = asdict(one) | {"data": one.data, "analysis": one.analysis, "system": one.system}
    values["users"] = list(one.users)
    return {
        key: value if isinstance(value, list | float | int | None) else str(value)
        for key, value in values.items()
    }


def _text(value: object) -> str:
    """For a person."""
    if isinstance(value, float):
        return moment(value)
    return (" ".join(value) if isinstance(value, list) else str(value or "")) or "-"


def _people(one: "Experiment") -> str:
    return " ".join(one.users) or "nobody takes part"


def _row(one: "Experiment", here: tuple[str | None, str]) -> Sequence[str]:
    star = "*" if (one.name, one.station) == here else ""
    days = ["-" if day is None else str(day) for day in (one.start, one.end)]
    users = shortened(" ".join(one.users) or "-", _USERS)
    told = shortened(one.description, _DESCRIPTION)
    return (star, one.name, one.station, one.type or "-", *days, users, told)
