"""Proposals and ESAFs of the facility. Staff see all, others those in which they take part."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response

from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.experiments import Esaf, Proposal, spellings
from apsdm_bluesky.tiled_config import Person

from ._answer import Answer
from ._codec import text_of
from ._facility_wire import esaf_record, proposal_record
from ._here import DmStation, Here, Member

router = APIRouter()

One = TypeVar("One", Esaf, Proposal)
Year = Annotated[int | None, Query(ge=1900, le=9999)]
RunName = Annotated[str | None, Query(max_length=100)]


# A client whose argument is empty leaves it out.
@router.get("/esaf/stationEsafs/{station}/{beamline}")
@router.get("/esaf/stationEsafs/{station}")
def esafs(person: Member, here: Here, station: str, beamline: str = "", year: Year = None) -> Response:
    """The ESAFs of a beamline; without its name, of the one that is here."""
    found = [one for name in _beamlines(here, station, beamline) for one in here.facility.esafs(name, year)]
    return Answer([esaf_record(one) for one in _seen(found, person)])


@router.get("/esaf/stationEsafsById/{station}/{number}")
def esaf(person: Member, here: Here, station: str, number: str) -> Response:
    """An ESAF."""
    _check_station(here, station)
    return Answer(esaf_record(_one(here.facility.esaf, number, person)))


@router.get("/bss/stationProposals/{station}/{beamline}")
@router.get("/bss/stationProposals/{station}")
def proposals(
    person: Member, here: Here, station: str, beamline: str = "", runName: RunName = None
) -> Response:
    """The proposals of a beamline; without its name, of the one that is here."""
    found = [
        one
        for name in _beamlines(here, station, beamline)
        for one in here.facility.proposals(name, runName or None)
    ]
    return Answer([proposal_record(one) for one in _seen(found, person)])


@router.get("/bss/stationProposalsById/{station}/{number}")
def proposal(person: Member, here: Here, station: str, number: str, runName: RunName = None) -> Response:
    """A proposal; of several runs, the latest one, or that which is asked for."""
    _check_station(here, station)
    return Answer(
        proposal_record(_one(lambda text: here.facility.proposal(text, runName or None), number, person))
    )


def _beamlines(here: DmStation, station: str, beamline: str) -> Sequence[str]:
    """Which ones the facility is asked for; none of another station."""
    name = text_of(beamline, "beamline")
    return [name or here.config.name] if _is_here(here, text_of(station, "station")) else []


def _is_here(here: DmStation, station: str) -> bool:
    return station in ("", here.config.station)


def _check_station(here: DmStation, station: str) -> None:
    name = text_of(station, "station")
    if not _is_here(here, name):
        raise HTTPException(404, f"Station {name!r} is not served here; {here.config.station!r} is.")


def _one(find: Callable[[str], One], number: str, person: Person) -> One:
    for spelling in spellings(number):
        try:
            found = find(spelling)
        except ExperimentError:
            continue
        if seen := _seen([found], person):
            return seen[0]
        break
    raise HTTPException(404, f"{number}: there is none of that number, or you do not take part in it.")


def _seen(found: Sequence[One], person: Person) -> Sequence[One]:
    return [one for one in found if person.staff or any(user.login == person.name for user in one.users)]
