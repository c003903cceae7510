"""The Tiled server of a beamline: its configuration, its key, how to start it and how to connect to it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._accounts import forget_person
from ._address import running_server, server_key, server_uri
from ._child import serve_as_child
from ._client import connect
from ._key import api_key
from ._passwords import PasswordFile
from ._process import ServerProcess, server_process
from ._serve import Mount, serve
from ._settings import server_settings

if TYPE_CHECKING:
    from ._people import (
        BROWSER_LOGIN,
        DM_LOGIN,
        LOGIN_COOKIE,
        LOGIN_LIFE,
        LoginKind,
        Person,
        log_in,
        log_in_by_token,
        log_out,
        person_of,
    )
    from ._run_frames import RunFrames

__all__ = [
    "BROWSER_LOGIN",
    "DM_LOGIN",
    "LOGIN_COOKIE",
    "LOGIN_LIFE",
    "LoginKind",
    "Mount",
    "PasswordFile",
    "Person",
    "RunFrames",
    "ServerProcess",
    "api_key",
    "connect",
    "forget_person",
    "log_in",
    "log_in_by_token",
    "log_out",
    "person_of",
    "running_server",
    "serve",
    "serve_as_child",
    "server_key",
    "server_process",
    "server_settings",
    "server_uri",
]

# Loaded when first used: they load the file formats, or Tiled's server, which others do not need.
_PEOPLE = (
    "BROWSER_LOGIN",
    "DM_LOGIN",
    "LOGIN_COOKIE",
    "LOGIN_LIFE",
    "LoginKind",
    "Person",
    "log_in",
    "log_in_by_token",
    "log_out",
    "person_of",
)
_LAZY = {"RunFrames": "_run_frames", **dict.fromkeys(_PEOPLE, "_people")}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
