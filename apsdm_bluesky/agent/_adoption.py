"""Sessions whose process is gone."""

import logging
from typing import Any

from apsdm_bluesky.spool import Spool, SpoolSession

log = logging.getLogger(__name__)


class Adoption:
    """Sessions whose process is gone: their open runs are closed, and all is delivered."""

    def __init__(self, spool: Spool, uri: str | None, api_key: str | None) -> None:
        self._spool = spool
        self._uri = uri
        self._api_key = api_key
        self._held: list[tuple[SpoolSession, Any]] = []

    def look(self) -> None:
        """Adopt what is orphaned now; let go of what is delivered."""
        for session in self._spool.adopt():
            for uid in session.close_unfinished("the session ended without closing the run"):
                log.warning("run %s was left open by its session: closed as aborted", uid)
            self._held.append((session, self._deliver(session)))
        for entry in list(self._held):
            session, delivery = entry
            if delivery is not None and delivery.wait_idle(0):
                delivery.close(0)
                session.close()
                self._held.remove(entry)

    def close(self) -> None:
        """Release every session; what is not delivered is adopted again by the next agent."""
        for session, delivery in self._held:
            if delivery is not None:
                delivery.close(0)
            session.close()
        self._held.clear()

    def _deliver(self, session: SpoolSession) -> Any:
        if self._uri is None:
            return None
        from apsdm_bluesky.spool import Delivery

        delivery = Delivery(session, self._uri, self._api_key)
        delivery.start()
        return delivery
