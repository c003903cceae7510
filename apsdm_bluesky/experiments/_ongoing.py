"""The experiment of a session, and what its runs tell of it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from apsdm_bluesky.errors import ExperimentError, ServiceError, StorageError

from ._current import CurrentExperiment
from ._experiment import Experiment

log = logging.getLogger(__name__)


class Ongoing:
    """The experiment that goes on: the current one when the session began, or what was chosen in it since.

    Without the list of experiments a session is opened all the same: its runs name the experiment then, and
    tell nothing else of it, with a warning.

    Parameters
    ----------
    current
        What counts for every later session.
    look_up
        The experiment of a name, as `ExperimentStore.get`.

    Raises
    ------
    ExperimentError
        The current experiment is not known.
    """

    def __init__(self, current: CurrentExperiment, look_up: Callable[[str], Experiment]) -> None:
        self._current = current
        self._look_up = look_up
        self._name = current.get()
        self._found: Experiment | None = None
        if self._name is not None:
            self._resume(self._name)

    @property
    def experiment(self) -> Experiment | None:
        """As it is in the list now; None where no experiment goes on.

        Raises
        ------
        ExperimentError
            It is not in the list.
        ServiceError, StorageError
            The list cannot be read.
        """
        if self._name is not None:
            self._found = self._look_up(self._name)
        return self._found

    @property
    def name(self) -> str | None:
        """Its name; nothing is looked up."""
        return self._name

    def use(self, name: str | None) -> Experiment | None:
        """Have this experiment go on, here and in every later session; None: no one.

        Raises
        ------
        ExperimentError
            It is not known.
        ServiceError, StorageError
            The list cannot be read, or the choice cannot be kept.
        """
        found = None if name is None else self._look_up(name)
        if found is None:
            self._current.clear()
        else:
            self._current.set(found.name)
        self._name, self._found = name, found
        return found

    def with_keys(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A run's metadata, with what is to be told of the experiment.

        What is given goes before. A run of which another `experiment` is told gets nothing of this one.
        """
        if self._name is None or metadata.get("experiment", self._name) != self._name:
            return dict(metadata)
        keys = {"experiment": self._name}
        for key in ("station", "proposal", "esaf"):
            if (value := getattr(self._found, key, None)) is not None:
                keys[key] = value
        return {**keys, **metadata}

    def _resume(self, name: str) -> None:
        try:
            self._found = self._look_up(name)
        except ExperimentError as error:
            raise ExperimentError(
                f"the current {error}; 'apsdm experiment use' chooses another one, or none"
            ) from error
        except (ServiceError, StorageError) as error:
            log.warning("runs name experiment %s, but neither its proposal nor its ESAF: %s", name, error)
