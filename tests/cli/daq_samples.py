"""An experiment, and DAQs of it whose files are brought into states as the agent would."""

import time

import sqlalchemy as sa

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import DaqOptions, DaqState, FileState, Kind, new_daq, open_daqs
from apsdm_bluesky.daq import _tables as tables
from apsdm_bluesky.experiments import CurrentExperiment, NewExperiment, open_experiments


class Daqs:
    """The DAQs of a state folder, with an experiment that goes on."""

    def __init__(self, config, folder, name="water"):
        self.config = config
        self.home = config.home
        self.folder = folder
        self.store = open_daqs(config)
        self.experiments = open_experiments(config)
        self.experiment = self.experiments.create(NewExperiment(name=name, users=("ann",)), actor="test")
        self.current = CurrentExperiment(config.folders.experiments)
        self.current.set(name)

    @classmethod
    def at(cls, tmp_path):
        """In a state folder of its own, with a folder that a detector writes."""
        folder = tmp_path / "detector"
        folder.mkdir()
        return cls(BeamlineConfig(home=tmp_path / "home"), folder)

    def close(self):
        self.store.close()
        self.experiments.close()

    def start(self, source=None, *, owner="pete", kind=Kind.DAQ, experiment=None, **options):
        place = experiment or self.experiment
        new = new_daq(kind, source or self.folder, place, DaqOptions(**options), owner=owner)
        return self.store.start(new, actor="test")

    def file(self, daq, name, state=FileState.CATALOGUED, *, size=1000, reason="", version=1, run=None):
        """A file that the agent has seen."""
        values = {
            "name": name,
            "state": state,
            "size": size,
            "reason": reason,
            "version": version,
            "run": run,
        }
        values |= {"daq": daq.id, "mtime_ns": time.time_ns(), "updated": time.time()}
        if state in (FileState.STORED, FileState.CATALOGUED):
            values |= {"path": name, "sha256": "0" * 64}
        with self.store._database.begin() as connection:
            connection.execute(sa.insert(tables.files).values(values))

    def end(self, daq, state=DaqState.DONE, reason="", **values):
        """It has ended, as the agent says."""
        values = {"state": state, "reason": reason, "ended": time.time()} | values
        with self.store._database.begin() as connection:
            connection.execute(sa.update(tables.daqs).where(tables.daqs.c.id == daq.id).values(values))
        return self.store.get(daq.id)
