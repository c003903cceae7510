"""Experiments: who takes part, when, and where the files lie; and the facility's proposals and ESAFs."""

from ._experiment import Experiment, NewExperiment

__all__ = ["Experiment", "NewExperiment"]
