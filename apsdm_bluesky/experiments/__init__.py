"""Experiments: who takes part, when, and where the files lie; and the facility's proposals and ESAFs."""

from ._chosen import chosen_experiment
from ._current import CurrentExperiment
from ._experiment import Experiment, NewExperiment
from ._facility import Esaf, FacilityDatabase, FacilityUser, Proposal
from ._from_facility import spellings, with_facility
from ._names import MAX_NAME, check_name
from ._ongoing import Ongoing
from ._open_facility import FACILITY_GROUP, open_facility
from ._store import ExperimentChange, ExperimentStore, open_experiments
from ._yaml_facility import YamlFacility

__all__ = [
    "FACILITY_GROUP",
    "MAX_NAME",
    "CurrentExperiment",
    "Esaf",
    "Experiment",
    "ExperimentChange",
    "ExperimentStore",
    "FacilityDatabase",
    "FacilityUser",
    "NewExperiment",
    "Ongoing",
    "Proposal",
    "YamlFacility",
    "check_name",
    "chosen_experiment",
    "open_experiments",
    "open_facility",
    "spellings",
    "with_facility",
]
