"""What the routes work with, and who may see what of it."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.experiments import Experiment, ExperimentStore, FacilityDatabase, open_facility
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.web._beamline import Beamline
from apsdm_bluesky.web._daq_room import DaqRoom
from apsdm_bluesky.web._opened import Opened

_NONE = "There is no such experiment, or you do not take part in it."


class DmStation:
    """The experiments and DAQs of a beamline, for those who ask over the network.

    Parameters
    ----------
    config
        Names their folders and databases.
    jobs, daqs
        As the pages have them.
    """

    def __init__(self, config: BeamlineConfig, jobs: Beamline, daqs: DaqRoom) -> None:
        self.config = config
        self.jobs = jobs
        self.daqs = daqs
        self._facility: Opened[FacilityDatabase] = Opened(lambda: open_facility(config), "the facility")

    @property
    def experiments(self) -> ExperimentStore:
        """Blocks and raises as `Opened.get`, as all stores here."""
        return self.daqs.experiments

    @property
    def facility(self) -> FacilityDatabase:
        """Proposals and ESAFs."""
        return self._facility.get()

    def experiment(self, name: str, person: Person, station: str | None = None) -> Experiment:
        """An experiment that this person may see; 404 where there is none as far as they are concerned."""
        try:
            return _seen(self.experiments.get(name, station), person)
        except ExperimentError as error:
            raise HTTPException(404, _NONE) from error

    def experiment_by_id(self, number: int, person: Person) -> Experiment:
        """The same, by its number."""
        try:
            return _seen(self.experiments.by_id(number), person)
        except ExperimentError as error:
            raise HTTPException(404, _NONE) from error


def own(owner: str, person: Person) -> str:
    """The owner that an address names, who must be the person, unless that is staff: else 404."""
    if not person.staff and owner != person.name:
        raise HTTPException(404, f"There is nothing of {owner!r} here, or it is not yours.")
    return owner


def _seen(experiment: Experiment, person: Person) -> Experiment:
    if not person.staff and person.name not in experiment.users:
        raise HTTPException(404, _NONE)
    return experiment


def _station(request: Request) -> DmStation:
    found: DmStation = request.app.state.dm_station
    return found


def _member(request: Request) -> Person:
    found: Person = request.state.person
    return found


Here = Annotated[DmStation, Depends(_station)]
Member = Annotated[Person, Depends(_member)]
