"""Channels of this process that others may read, not write."""

import tempfile

import pvaccess

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sources import pva_server

_GROUP = "APSDM_LIVE"
# Other records of this process, which name no group, stay as open as they are without rules.
_RULES = f"ASG(DEFAULT) {{ RULE(1, READ) RULE(1, WRITE) }}\nASG({_GROUP}) {{ RULE(1, READ) }}\n"


class LiveServer:
    """Serves channels until `stop`, at the latest until the process exits.

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
            self._server = pva_server(interface)
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

    def serve(self, name: str, value: pvaccess.PvObject) -> None:
        """Offer a channel. Its structure is for good: clients of a record that is made anew can go dead.

        Raises
        ------
        ServiceError
            Another part of this process serves that name.
        """
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
        """Close the channels. Idempotent."""
        for name in self._names:
            self._server.removeRecord(name)
        self._names.clear()
