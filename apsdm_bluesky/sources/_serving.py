"""The PVA servers of this process."""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pvaccess

__all__ = ["interface_of_environment", "pva_server"]

_INTERFACES = "EPICS_PVAS_INTF_ADDR_LIST"

_starting = threading.Lock()
_servers: dict[str, pvaccess.PvaServer] = {}


def pva_server(interface: str) -> pvaccess.PvaServer:
    """The server that listens at an address of this machine, started when it is first asked for.

    One for whatever this process serves there: pvapy's records belong to the process, so that each further
    server offers all of them once more, and clients warn of it. It lives as long as the process.

    Raises
    ------
    PvaException, RuntimeError, OSError
        It cannot listen there.
    """
    with _starting:
        if interface not in _servers:
            with _listening_at(interface):
                server = pvaccess.PvaServer()  # listens at once
            atexit.register(server.stop)
            _servers[interface] = server
        return _servers[interface]


def interface_of_environment() -> str:
    """Where the environment says that servers listen; loopback where it says nothing."""
    return os.environ.get(_INTERFACES, "127.0.0.1")


@contextmanager
def _listening_at(interface: str) -> Iterator[None]:
    """Servers that are made inside listen at this address: pvAccess reads it from the environment then."""
    before = os.environ.get(_INTERFACES)
    os.environ[_INTERFACES] = interface
    try:
        yield
    finally:
        if before is None:
            del os.environ[_INTERFACES]
        else:
            os.environ[_INTERFACES] = before
