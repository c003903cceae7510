"""EPICS on loopback ports of this process's own, so that no two simulated beamlines ever meet."""

import atexit
import itertools
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from apsdm_bluesky.errors import AcquisitionError, ConfigError

from ._repeater import start_repeater

__all__ = ["isolate_epics", "server_ports"]

_HOST = "127.0.0.1"
_CANDIDATES = range(20000, 32000)  # below the ports that systems hand out by themselves
_DETECTORS = 8  # simulated detectors at once


class _Isolation:
    """The ports of this process. Its TCP sockets, bound and never used, keep other processes off them."""

    def __init__(self, held: dict[int, socket.socket]) -> None:
        self.sockets = tuple(held.values())
        self.ports = tuple(held)
        pva, repeater, *detectors = self.ports
        self.settings = _settings(pva, repeater, detectors)
        self.free = detectors
        self.lock = threading.Lock()


_isolated: _Isolation | None = None


def isolate_epics(ports: Sequence[int] | None = None) -> dict[str, str]:
    """Confine EPICS of this process and its children to loopback, on ports that no other process has.

    Sets the environment of libca (pyepics), pvAccessCPP (pvapy) and caproto. To be called before the first of
    them is loaded; a second call changes nothing.

    Parameters
    ----------
    ports
        For PVA, the CA repeater, and each simulated detector's CA server. None: free ones are chosen.

    Returns
    -------
    dict
        The environment variables set.

    Raises
    ------
    ConfigError
        pvaccess or epics is loaded already, or a port is taken, or other ports were asked for before.
    """
    global _isolated  # noqa: PLW0603  (the environment is one per process, and so is this)
    if _isolated is not None:
        if ports is not None and tuple(ports) != _isolated.ports:
            raise ConfigError(
                f"EPICS is confined to the ports {_isolated.ports} already; start a new process"
            )
        return dict(_isolated.settings)
    _refuse_when_loaded()
    if ports is not None and len(ports) < 3:
        raise ConfigError(
            f"ports {list(ports)}: give one for PVA, one for the CA repeater, one for each detector"
        )
    _isolated = _reserve(ports)
    repeater = _bound(socket.SOCK_DGRAM, _isolated.ports[1])
    start_repeater(repeater)
    for sock in (repeater, *_isolated.sockets):
        atexit.register(sock.detach)  # open to the very end: the system closes them with the process
    os.environ.update(_isolated.settings)
    return dict(_isolated.settings)


@contextmanager
def server_ports() -> Iterator[dict[str, str]]:
    """The environment of one more simulated detector: CA servers on loopback cannot share a UDP port.

    Raises
    ------
    AcquisitionError
        `isolate_epics` was not called, or all ports are in use.
    """
    state = _isolated
    if state is None:
        raise AcquisitionError("a simulated detector needs ports of its own: call sim.isolate_epics() first")
    with state.lock:
        if not state.free:
            raise AcquisitionError(f"{len(state.ports) - 2} simulated detectors run already; stop one first")
        port = state.free.pop(0)
    try:
        yield {**state.settings, "EPICS_CA_SERVER_PORT": str(port), "EPICS_CAS_SERVER_PORT": str(port)}
    finally:
        with state.lock:
            state.free.append(port)


def _refuse_when_loaded() -> None:
    """EPICS libraries read their environment once, so late settings would be ignored silently."""
    loaded = [name for name in ("pvaccess", "epics") if name in sys.modules]
    if loaded:
        raise ConfigError(
            f"{' and '.join(loaded)} loaded before the simulated beamline: "
            "call sim.isolate_epics() first (in IPython: open the session before other EPICS imports)"
        )


def _settings(pva: int, repeater: int, detectors: Sequence[int]) -> dict[str, str]:
    return {
        "EPICS_CA_ADDR_LIST": " ".join(f"{_HOST}:{port}" for port in detectors),
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_NAME_SERVERS": "",
        "EPICS_CA_SERVER_PORT": str(detectors[0]),
        "EPICS_CA_REPEATER_PORT": str(repeater),
        "EPICS_CAS_INTF_ADDR_LIST": _HOST,
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CAS_BEACON_ADDR_LIST": _HOST,
        "EPICS_CAS_BEACON_PORT": str(repeater),
        "EPICS_PVA_ADDR_LIST": _HOST,
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_NAME_SERVERS": "",
        "EPICS_PVA_BROADCAST_PORT": str(pva),
        "EPICS_PVA_SERVER_PORT": "0",  # TCP: any free port, the search tells it
        "EPICS_PVAS_INTF_ADDR_LIST": _HOST,
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_BEACON_ADDR_LIST": _HOST,
        "EPICS_PVAS_BROADCAST_PORT": str(pva),
        "EPICS_PVAS_SERVER_PORT": "0",
    }


def _reserve(ports: Sequence[int] | None) -> _Isolation:
    if ports is None:
        candidates = random.SystemRandom().sample(_CANDIDATES, len(_CANDIDATES))
        available = (port for port in candidates if _is_free(port))
        ports = list(itertools.islice(available, 2 + _DETECTORS))
    held: dict[int, socket.socket] = {}
    for port in ports:
        try:
            held[port] = _bound(socket.SOCK_STREAM, port)
            _bound(socket.SOCK_DGRAM, port).close()
        except OSError as error:
            for sock in held.values():
                sock.close()
            raise ConfigError(f"port {port} cannot be used ({error.strerror}); choose another one") from error
    return _Isolation(held)


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            _bound(kind, port).close()
    except OSError:
        return False
    return True


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.bind((_HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
