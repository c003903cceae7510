"""The Tiled server of a beamline: its configuration, its key, how to start it and how to connect to it."""

from typing import TYPE_CHECKING, Any

from ._address import running_server, server_key, server_uri
from ._client import connect
from ._key import api_key
from ._process import ServerProcess, server_process
from ._serve import serve
from ._settings import server_settings

if TYPE_CHECKING:
    from ._run_frames import RunFrames

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


def __getattr__(name: str) -> Any:
    # Loaded when first used: it loads the file formats, which the server's configuration does not need.
    if name != "RunFrames":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._run_frames import RunFrames

    return RunFrames
