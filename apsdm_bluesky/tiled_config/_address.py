"""Where a beamline's server answers, and with which key."""

import json
import os

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError

from ._key import api_key


def running_server(config: BeamlineConfig) -> str | None:
    """The address of the server of ours that runs on this state folder now; None where there is none."""
    from ._process import answers

    try:
        ready = json.loads((config.folders.catalog / "server.json").read_text(encoding="utf-8"))
        uri, pid = str(ready["uri"]), int(ready["pid"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{config.folders.catalog / 'server.json'}: cannot be read ({error}); remove it, then 'apsdm up'"
        ) from error
    # The file of a server that was killed is left behind, and another beamline's may have its port now.
    return uri if _lives(pid) and answers(uri) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def server_uri(config: BeamlineConfig) -> str:
    """Where this beamline's server answers, or will answer once it is started.

    Raises
    ------
    ServiceError
        The configured port is any free one, and no server runs.
    """
    uri = config.server.uri or running_server(config)
    if uri is not None:
        return uri
    if config.server.port == 0:
        raise ServiceError("no Tiled server runs for this beamline; start one with 'apsdm up'")
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return f"http://{host}:{config.server.port}"


def server_key(config: BeamlineConfig) -> str | None:
    """The server's API key; None for a server that somebody else runs: its client reads TILED_API_KEY."""
    return None if config.server.uri is not None else api_key(config.folders)
