"""The credit loop: a source of ours waits for its consumer, so that no queue between them overflows.

The consumer serves a record, ``<channel>:ack``, with the `uniqueId` of the last message that it has handled.
The publisher reads it, and waits while `credit` of its messages are not handled.
"""

import atexit
import functools
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pvaccess

logger = logging.getLogger(__name__)

_NOBODY = -(2**63)  # what the record holds while no consumer is subscribed; no message has this number
_POLL_S = 0.05  # how soon a publisher that waits sees that it is to stop
_INTERFACES = "EPICS_PVAS_INTF_ADDR_LIST"


def ack_name(channel: str) -> str:
    """The record that tells how far the consumer of a channel is."""
    return f"{channel}:ack"


class Acknowledgement:
    """The consumer's side, for one subscription at a time.

    This process serves it, on loopback unless the environment names interfaces (EPICS_PVAS_INTF_ADDR_LIST).

    Parameters
    ----------
    channel
        Of the frames.
    credit
        Messages that the publisher may be ahead; each quarter of them is acknowledged.
    """

    def __init__(self, channel: str, credit: int) -> None:
        self._record = ack_name(channel)
        self._every = max(1, credit // 4)
        self._handled = 0

    def begin(self) -> None:
        """A subscription begins; its first message will be acknowledged at once."""
        self._handled = 0
        server = _server()
        if not server.hasRecord(self._record):
            server.addRecord(self._record, pvaccess.PvLong(_NOBODY), None)

    def handled(self, unique_id: int) -> None:
        """The consumer is done with a message."""
        if self._handled % self._every == 0:
            self._post(unique_id)
        self._handled += 1

    def end(self) -> None:
        """The subscription has ended: nobody is to wait for it."""
        self._post(_NOBODY)

    def _post(self, number: int) -> None:
        _server().update(self._record, pvaccess.PvLong(number))


class CreditGate:
    """The publisher's side: holds it while its consumer is too far behind.

    Where no consumer acknowledges, or none any more, nobody is held, and the log says so.

    Parameters
    ----------
    channel
        Of the frames.
    credit
        Messages that may have been sent and not been handled.
    patience_s
        How long an acquisition waits at its start for a consumer to acknowledge at all [s].
    """

    def __init__(self, channel: str, credit: int, *, patience_s: float = 5.0) -> None:
        self._record = ack_name(channel)
        self._patience_s = patience_s
        self._changed = threading.Condition()
        # The oldest ones of a consumer that is further behind are forgotten: full is full.
        self._ahead: deque[int] = deque(maxlen=credit)
        self._listening = self._connected = False
        self._channel: pvaccess.Channel | None = None
        self._callbacks = (self._on_ack, self._on_connection)  # they must outlive the channel: see PvaSource

    def open(self, stop: threading.Event) -> None:
        """An acquisition begins: find the consumer."""
        if not self._connected:
            self.close()
            # A new channel finds it at once; an old one looks for it more and more rarely.
            self._channel = pvaccess.Channel(self._record)
            self._channel.setConnectionCallback(self._callbacks[1])
            self._channel.monitor(self._callbacks[0], "field(value)")
        if not self._wait(lambda: self._listening, stop, self._patience_s) and not stop.is_set():
            logger.warning("%s: no consumer acknowledges; messages are sent without waiting", self._record)

    def admit(self, unique_id: int, stop: threading.Event) -> None:
        """Return when this message may be sent, no consumer listens, or `stop` is set."""
        self._wait(lambda: not self._listening or len(self._ahead) < (self._ahead.maxlen or 0), stop)
        with self._changed:
            self._ahead.append(unique_id)

    def close(self) -> None:
        """Let go of the consumer. Idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.stopMonitor()

    def _wait(self, ready: Callable[[], bool], stop: threading.Event, timeout_s: float = math.inf) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not ready() and not stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(_POLL_S)
            return ready()

    def _on_ack(self, structure: pvaccess.PvObject) -> None:
        number = int(structure["value"])
        with self._changed:
            self._listening = number != _NOBODY
            if number in self._ahead:
                while self._ahead.popleft() != number:
                    pass
            self._changed.notify_all()

    def _on_connection(self, connected: bool) -> None:
        with self._changed:
            lost = self._listening and not connected
            self._connected = connected
            self._listening = self._listening and connected
            self._changed.notify_all()
        if lost:
            logger.warning("%s: the consumer has gone; messages are sent without waiting", self._record)


_starting = threading.Lock()


def _server() -> pvaccess.PvaServer:
    """One for all channels of this process; it lives as long."""
    with _starting:
        return _started()


@functools.cache
def _started() -> pvaccess.PvaServer:
    with _on_loopback():
        server = pvaccess.PvaServer()
        server.start()
    atexit.register(server.stop)
    return server


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A server reads the environment when it is made."""
    if _INTERFACES in os.environ:
        yield
        return
    os.environ[_INTERFACES] = "127.0.0.1"
    try:
        yield
    finally:
        del os.environ[_INTERFACES]
