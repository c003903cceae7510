"""The RunEngine's documents on their way to the catalogue."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.spool import SpoolSession

if TYPE_CHECKING:
    from apsdm_bluesky.spool import Delivery


class CatalogWriter:
    """A callback that stores every document durably in the spool, and lets the delivery send it to Tiled.

    It waits for the local disk only, never for the server.

    Parameters
    ----------
    session
        The session's spool.
    delivery
        Delivers that spool to Tiled; None where somebody else does.

    Raises
    ------
    FormatError, StorageError
        A document cannot be stored. The RunEngine aborts the run then: what is not on disk is not taken.
    """

    def __init__(self, session: SpoolSession, delivery: "Delivery | None") -> None:
        self._session = session
        self._delivery = delivery

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Store one document."""
        self._session.write(name, doc)
        if self._delivery is not None:
            self._delivery.wake()
