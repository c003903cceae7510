"""A PVA server in this process for channels that others may read, not write."""

import atexit
import tempfile
import weakref

import pvaccess

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sources import listening_at

_GROUP = "APSDM_LIVE"
# Other records of this process, which name no group, stay as open as they are without rules.
_RULES = f"ASG(DEFAULT) {{ RULE(1, READ) RULE(1, WRITE) }}\nASG({_GROUP}) {{ RULE(1, READ) }}\n"

_running: "weakref.WeakSet[LiveServer]" = weakref.WeakSet()


class LiveServer:
    """Serves channels until `stop`, at the latest until the process exits.

    pvapy's records belong to the process: every server in it serves all of them.

    Parameters
    ----------
    interface
        IPv4 address of the network interface to listen at; 0.0.0.0: all of them.

    Raises
    ------
    ServiceError
        It cannot listen there.
    """

    def __init__(self, interface: str) -> None:
        self._names: set[str] = set()
        try:
            with listening_at(interface):
                self._server = pvaccess.PvaServer()  # listens at once
            with tempfile.NamedTemporaryFile("w", suffix=".acf") as rules:
                rules.write(_RULES)
                rules.flush()
                self._server.initAs(rules.name, "")
        except (pvaccess.PvaException, RuntimeError, OSError) as error:
            reason = str(error).partition("\n")[0]  # a stack trace follows
            raise ServiceError(
                f"live output: no PVA server at {interface} ({reason}); set live_output.interface to an "
                "address of this machine, or live_output.enabled to false"
            ) from error
        _running.add(self)

    def serve(self, name: str, value: pvaccess.PvObject) -> None:
        """Offer a channel; one that is there already is replaced, and its clients connect again.

        Raises
        ------
        ServiceError
            Another part of this process serves that name.
        """
        if name in self._names:
            self._server.removeRecord(name)
            self._names.remove(name)
        try:
            self._server.addRecordWithAs(name, value, 1, _GROUP, None)
        except pvaccess.PvaException as error:
            raise ServiceError(
                f"live output: channel {name} cannot be served ({error}); give each detector a "
                "live_prefix of its own"
            ) from error
        self._names.add(name)

    def post(self, name: str, value: pvaccess.PvObject) -> None:
        """A new value of a channel: not the object given to `serve`, which would be sent twice."""
        self._server.update(name, value)

    def stop(self) -> None:
        """Close the channels and the server. Idempotent."""
        if self not in _running:
            return
        _running.discard(self)
        for name in self._names:
            self._server.removeRecord(name)
        self._names.clear()
        self._server.stop()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.stop()
