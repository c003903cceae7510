"""A session of the spool for runs that the agent itself writes, delivered as they come."""

from collections.abc import Mapping, Sequence
from typing import Any

from apsdm_bluesky.spool import Spool, SpoolSession


class OwnRuns:
    """Puts runs into the spool; the session is opened for the first one.

    Parameters
    ----------
    uri, api_key
        The Tiled server; without, the next agent that has one delivers them.
    """

    def __init__(self, spool: Spool, uri: str | None, api_key: str | None) -> None:
        self._spool = spool
        self._uri = uri
        self._api_key = api_key
        self._session: SpoolSession | None = None
        self._delivery: Any = None

    def put(
        self,
        documents: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        notes: Mapping[str, Any] | None,
        delivered: bool,
    ) -> None:
        """Store a whole run, once; raises as `SpoolSession.put_run`."""
        if self._session is None:
            self._session = self._spool.open_session()
        self._session.put_run(documents, notes=notes, delivered=delivered)
        if self._delivery is None and self._uri is not None:
            from apsdm_bluesky.spool import Delivery

            self._delivery = Delivery(self._session, self._uri, self._api_key)
            self._delivery.start()
        if self._delivery is not None:
            self._delivery.wake()

    def close(self) -> None:
        """What is not delivered, the next agent delivers."""
        if self._delivery is not None:
            self._delivery.close(0)
        if self._session is not None:
            self._session.close()
