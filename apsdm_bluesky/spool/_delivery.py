"""A thread that delivers a session's runs to Tiled."""

from apsdm_bluesky.spool._session import SpoolSession


class Delivery:
    """Delivers a session's runs to Tiled, in order, once each."""

    def __init__(self, session: SpoolSession, uri: str, api_key: str | None) -> None:
        self._session = session
