"""Experiments. Staff see all, others those in which they take part."""

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.experiments import with_facility
from apsdm_bluesky.tiled_config import Person

from ._answer import Answer
from ._codec import mapping_of, text_of
from ._experiment_wire import experiment_record, read_experiment
from ._here import DmStation, Here, Member

router = APIRouter()


@router.get("/experiments")
def experiments(person: Member, here: Here) -> Response:
    """All experiments."""
    return _listed(here, person, None)


@router.get("/experimentsByStation/{station}")
@router.get("/experimentsByStation")
def experiments_by_station(person: Member, here: Here, station: str = "") -> Response:
    """Those of a station; without its name, all."""
    return _listed(here, person, station or None)


@router.get("/experimentsById/{number}")
def experiment_by_id(number: int, person: Member, here: Here) -> Response:
    """One of them."""
    return Answer(experiment_record(here.experiment_by_id(number, person)))


@router.get("/experimentsByName/{name}/{station}")
@router.get("/experimentsByName/{name}")
def experiment_by_name(name: str, person: Member, here: Here, station: str = "") -> Response:
    """One of them; without a station, of the one that is here."""
    found = here.experiment(text_of(name, "experiment name"), person, station or None)
    return Answer(experiment_record(found))


@router.post("/experiments/addExperiment")
def add_experiment(experiment: str, person: Member, here: Here) -> Response:
    """Make an experiment, with what its ESAF and proposal tell where nothing is given."""
    if not person.staff:
        raise HTTPException(403, "Only staff make experiments.")
    given = read_experiment(mapping_of(experiment, "experiment"), here.config.station)
    if _is_known(here, given.name):
        raise HTTPException(409, f"experiment {given.name!r} is there already; choose another name")
    try:
        filled, _ = with_facility(given, here.facility)
    except ExperimentError as error:  # which names the server's file
        numbers = {"esafId": given.esaf, "proposalId": given.proposal}
        told = " and ".join(f"{key} {number!r}" for key, number in numbers.items() if number is not None)
        raise HTTPException(400, f"experiment: the facility does not know {told}") from error
    return Answer(experiment_record(here.experiments.create(filled, actor=f"{person.name} (DM)")))


def _listed(here: DmStation, person: Person, station: str | None) -> Response:
    found = here.experiments.list(station=station, user=None if person.staff else person.name)
    return Answer([experiment_record(one) for one in found])


def _is_known(here: DmStation, name: str) -> bool:
    try:
        here.experiments.get(name)
    except ExperimentError:
        return False
    return True
