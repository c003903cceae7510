"""The Tiled server of a beamline: its configuration, its key, how to start it and how to connect to it."""

from ._address import running_server, server_key, server_uri
from ._client import connect
from ._key import api_key
from ._process import ServerProcess, server_process
from ._run_frames import RunFrames
from ._serve import serve
from ._settings import server_settings

__all__ = [
    "RunFrames",
    "ServerProcess",
    "api_key",
    "connect",
    "running_server",
    "serve",
    "server_key",
    "server_process",
    "server_settings",
    "server_uri",
]
