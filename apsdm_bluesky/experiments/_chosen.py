"""The experiment that somebody means."""

from contextlib import closing

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ExperimentError

from ._current import CurrentExperiment
from ._experiment import Experiment
from ._store import open_experiments


def chosen_experiment(config: BeamlineConfig, name: str | None = None) -> Experiment:
    """The experiment of that name; without one, that which goes on.

    Raises
    ------
    ExperimentError
        It is not known, or none goes on.
    ConfigError, StorageError, ServiceError
        The list of experiments cannot be read.
    """
    name = name or CurrentExperiment(config.folders.experiments).get()
    if name is None:
        raise ExperimentError(
            "no experiment is named, and none goes on: name one, or 'apsdm experiment use NAME' has one go on"
        )
    with closing(open_experiments(config)) as store:
        return store.get(name)
