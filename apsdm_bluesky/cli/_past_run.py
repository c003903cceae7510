"""A run in the catalogue whose frames are reduced once more, and where the new result goes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from tiled.queries import Key

from apsdm_bluesky.callbacks import CatalogWriter
from apsdm_bluesky.config import BeamlineConfig, ReductionConfig, SimulationConfig, faults_of
from apsdm_bluesky.errors import ConfigError, ReductionError
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.tiled_config import RunFrames, connect, server_key, server_uri

_DELIVERY_TIMEOUT_S = 60.0

Document = tuple[str, dict[str, Any]]


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
    client = connect(server_uri(config), server_key(config))
    try:
        frames = RunFrames(_only_run(client, uid))
        results = []
        if "processed" in client:
            mine = client["processed"].search(Key("start.raw_uid") == frames.start["uid"])
            results = list(mine.sort(("start.time", 1)).values())
        yield PastRun(frames, results)
    finally:
        client.context.http_client.close()


def _only_run(client: Any, uid: str) -> Any:
    try:
        return client["raw"][uid]
    except KeyError as error:
        raise ReductionError(f"run {uid}: the catalogue has no such raw run") from error
    except ValueError as error:
        raise ReductionError(f"run {uid}: several runs begin so; give more of the uid") from error


def publish(config: BeamlineConfig, documents: Sequence[Document]) -> bool:
    """Put a result into the spool, and deliver it; False where the agent must do that later."""
    session = Spool(config.folders.spool).open_session()
    try:
        delivery = Delivery(session, server_uri(config), server_key(config))
        write = CatalogWriter(session, delivery)
        for name, document in documents:
            write(name, document)
        delivery.start()
        return delivery.close(_DELIVERY_TIMEOUT_S)
    finally:
        session.close()
