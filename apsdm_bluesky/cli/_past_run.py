"""A run in the catalogue whose frames are reduced once more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from apsdm_bluesky.config import BeamlineConfig, ReductionConfig, SimulationConfig, faults_of
from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.tiled_config import RunFrames

from ._catalogue import find_run, opened_catalogue, results_of


class PastRun:
    """A raw run and its results up to now."""

    def __init__(self, frames: RunFrames, results: Sequence[Any]) -> None:
        self.frames = frames
        self._results = results

    @property
    def uid(self) -> str:
        """Of the raw run."""
        return str(self.frames.start["uid"])

    def settings_then(self, config: BeamlineConfig) -> BeamlineConfig:
        """`config`, with what the run's first reduction had: that of its session.

        Raises
        ------
        ConfigError
            It was another version's, and cannot be used any more.
        """
        changes: dict[str, Any] = {}
        try:
            if "simulation" in self.frames.start:
                changes["simulation"] = SimulationConfig.model_validate(self.frames.start["simulation"])
            if self._results:
                then = self._results[0].metadata["start"]["configuration"]
                changes["reduction"] = ReductionConfig.model_validate(then)
        except ValidationError as error:
            raise ConfigError(
                f"run {self.uid}: cannot be reduced as it was ({faults_of(error)}); give --config"
            ) from error
        return config.model_copy(update=changes)

    def equal_results(self, sha256: str) -> list[str]:
        """The uids of earlier results with this hash."""
        return [
            str(result.metadata["start"]["uid"])
            for result in self._results
            if "primary" in result and str(result["primary"]["result_sha256"].read()[0]) == sha256
        ]


@contextmanager
def past_run(config: BeamlineConfig, uid: str) -> Iterator[PastRun]:
    """The run whose uid begins with `uid`.

    Raises
    ------
    ReductionError
        There is none, or more than one; or its frames cannot be reduced.
    ServiceError
        The server does not answer.
    """
    with opened_catalogue(config) as client:
        frames = RunFrames(find_run(client, uid))
        yield PastRun(frames, results_of(client, str(frames.start["uid"])))
