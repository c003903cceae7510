"""The Tiled server of a beamline: its configuration, its key, how to start it and how to connect to it."""

from typing import Any

from ._key import api_key
from ._process import ServerProcess, server_process
from ._serve import serve
from ._settings import server_settings

__all__ = ["ServerProcess", "api_key", "connect", "serve", "server_process", "server_settings"]


def connect(uri: str, api_key: str | None) -> Any:
    """The root of the catalogue at `uri` as a Tiled client; its children are `raw` and `processed`.

    Raises
    ------
    ServiceError
        The server does not answer, or refuses the key.
    """
    from ._connect import connect as connect_now

    return connect_now(uri, api_key)
