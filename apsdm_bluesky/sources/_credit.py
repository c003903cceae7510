"""The credit loop: a source of ours waits for its consumer, so that no queue between them overflows.

The consumer serves a record, ``<channel>:ack``, with the `uniqueId` of the last message that it has handled.
The publisher monitors it, and waits while `credit` of its messages are not handled. One process may be the
consumer of a channel at a time.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

import pvaccess

from ._serving import interface_of_environment, pva_server

logger = logging.getLogger(__name__)

_NOBODY = -(2**63)  # what the record holds while nobody is subscribed; no message has this number
_POLL_S = 0.05  # how soon a publisher that waits sees that it is to stop


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
        if not _server().hasRecord(self._record):
            _server().addRecord(self._record, pvaccess.PvLong(_NOBODY), None)

    def handled(self, unique_id: int) -> None:
        """The consumer is done with a message."""
        if self._handled % self._every == 0:
            _server().update(self._record, pvaccess.PvLong(unique_id))
        self._handled += 1

    def end(self) -> None:
        """The subscription has ended: nobody is to wait for it."""
        # The record stays: the publisher's monitor of one that is removed and made anew can go dead.
        _server().update(self._record, pvaccess.PvLong(_NOBODY))


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
        self._credit = credit
        self._links: list[_Link] = []  # the last one is in use

    def open(self, stop: threading.Event) -> None:
        """An acquisition begins: find the consumer."""
        if not self._links or not self._links[-1].sound:
            # The queue holds every acknowledgement under way: after an overrun the last one may never come.
            self._links.append(_Link(self._record, 2 * self._credit + 4, self._on_change))
        if not self._wait(lambda: self._listening, stop, self._patience_s) and not stop.is_set():
            logger.warning("%s: no consumer acknowledges; messages are sent without waiting", self._record)

    def admit(self, unique_id: int, stop: threading.Event) -> None:
        """Return when this message may be sent, there is no consumer, or `stop` is set."""
        self._wait(lambda: not self._listening or len(self._ahead) < self._credit, stop)
        with self._changed:
            self._ahead.append(unique_id)

    def close(self) -> None:
        """Let go of the consumer."""
        for link in self._links:
            link.channel.stopMonitor()

    @property
    def _listening(self) -> bool:
        return bool(self._links) and self._links[-1].sound and self._links[-1].handled != _NOBODY

    def _wait(self, ready: Callable[[], bool], stop: threading.Event, timeout_s: float = math.inf) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not ready() and not stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(_POLL_S)
            return ready()

    def _on_change(self, link: "_Link") -> None:
        with self._changed:
            if link.handled in self._ahead:
                while self._ahead.popleft() != link.handled:
                    pass
            self._changed.notify_all()


class _Link:
    """A monitor of the consumer's record, sound until it is disconnected for the first time.

    pvapy 5.6 lets the monitor of a channel that comes back go dead now and then, and aborts when such a
    channel is deleted: so a link that was lost is never used again, and never let go.
    """

    def __init__(self, record: str, queue_size: int, on_change: "Callable[[_Link], None]") -> None:
        self.handled = _NOBODY
        self.sound = True
        self._record = record
        self._connected = False
        self._on_change = on_change
        self._callbacks = (self._on_ack, self._on_connection)
        self.channel = pvaccess.Channel(record)
        self.channel.setConnectionCallback(self._callbacks[1])
        self.channel.monitor(self._callbacks[0], f"record[queueSize={queue_size}]field(value)")

    def _on_ack(self, structure: pvaccess.PvObject) -> None:
        self.handled = int(structure["value"])
        if self.sound:
            self._on_change(self)

    def _on_connection(self, connected: bool) -> None:
        # A new channel says that it is not connected, too.
        if self._connected and not connected and self.sound:
            self.sound = False
            logger.warning("%s: the consumer has gone; messages are sent without waiting", self._record)
            self._on_change(self)
        self._connected = connected


def _server() -> pvaccess.PvaServer:
    return pva_server(interface_of_environment())
