"""Experiments: who takes part, when, and where the files lie; and the facility's proposals and ESAFs."""

from ._current import CurrentExperiment
from ._experiment import Experiment, NewExperiment
from ._names import MAX_NAME, check_name
from ._store import ExperimentChange, ExperimentStore, open_experiments

__all__ = [
    "MAX_NAME",
    "CurrentExperiment",
    "Experiment",
    "ExperimentChange",
    "ExperimentStore",
    "NewExperiment",
    "check_name",
    "open_experiments",
]
