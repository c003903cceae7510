"""Archive requests, made where they cannot be lost: in the spool, beside the run's documents."""

from collections.abc import Mapping
from typing import Any

from apsdm_bluesky.spool import SpoolSession


class GlobusArchiver:
    """A callback that notes with each raw run's start that the run is to be archived.

    The run's stop document makes the request effective: the agent finds both in the spool. Nothing here waits
    for a database or a network. Subscribe it after `CatalogWriter`, which makes the run's file.

    Analysis runs (their start document has the key `raw_uid`) are archived with their raw run.

    Parameters
    ----------
    session
        The session's spool.
    collection
        The configured destination to archive to.

    Raises
    ------
    FormatError, StorageError
        The request cannot be stored. The RunEngine aborts the run then, at its start.
    """

    def __init__(self, session: SpoolSession, *, collection: str = "local") -> None:
        self._session = session
        self._collection = collection

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note the request of a raw run."""
        if name == "start" and "raw_uid" not in doc:
            self._session.note(doc["uid"], "archive", {"collection": self._collection})
