"""What the pages of DAQs work with: the stores, and who may see what."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import Daq, DaqState, DaqStore, Kind, open_daqs
from apsdm_bluesky.errors import DaqError
from apsdm_bluesky.experiments import ExperimentStore, open_experiments
from apsdm_bluesky.tiled_config import Person

from ._opened import Opened

_ID = re.compile(r"[0-9a-f]{32}")


class DaqRoom:
    """The DAQs and uploads of the configured beamline.

    Parameters
    ----------
    config
        Names their folder and database, and those of experiments.
    """

    def __init__(self, config: BeamlineConfig) -> None:
        self._daqs: Opened[DaqStore] = Opened(lambda: open_daqs(config), "DAQs")
        self._experiments: Opened[ExperimentStore] = Opened(lambda: open_experiments(config), "experiments")

    @property
    def store(self) -> DaqStore:
        """It blocks: for threads only; raises as `Opened.get`."""
        return self._daqs.get()

    @property
    def experiments(self) -> ExperimentStore:
        """The same, of experiments."""
        return self._experiments.get()

    def daq(self, uid: str, person: Person) -> Daq:
        """One that this person may see; as far as others are concerned there is none: 404."""
        try:
            found = self.store.get(uid) if _ID.fullmatch(uid) else None
        except DaqError:
            found = None
        if found is None or not self._sees(person, found):
            raise HTTPException(404, "There is no such DAQ or upload, or it is somebody else's.")
        return found

    def list(
        self,
        person: Person,
        *,
        kind: Kind | None = None,
        experiment: str | None = None,
        states: "Sequence[DaqState]" = (),
        limit: int,
    ) -> "Sequence[Daq]":
        """Those that this person may see, the latest first."""
        if person.staff:
            return self.store.list(kind=kind, experiment=experiment, states=states, limit=limit)
        own = self.store.list(kind=kind, experiment=experiment, owner=person.name, states=states, limit=limit)
        found = {daq.id: daq for daq in own}
        for name, station in self._places(person):
            if experiment in (None, name):
                theirs = self.store.list(kind=kind, experiment=name, states=states, limit=limit)
                found |= {daq.id: daq for daq in theirs if daq.station == station}
        return sorted(found.values(), key=lambda daq: (-daq.created, daq.id))[:limit]

    def _sees(self, person: Person, daq: Daq) -> bool:
        if person.staff or daq.owner == person.name:
            return True
        return (daq.experiment, daq.station) in self._places(person)

    def _places(self, person: Person) -> "frozenset[tuple[str, str]]":
        """Name and station of the experiments in which this person takes part."""
        theirs = self.experiments.list(user=person.name)
        return frozenset((one.name, one.station) for one in theirs)


def _room(request: Request) -> DaqRoom:
    found: DaqRoom = request.app.state.daqs
    return found


Room = Annotated[DaqRoom, Depends(_room)]
