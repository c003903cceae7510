"""Frames from an EPICS PVAccess channel that serves NTNDArray."""

import atexit
import logging
import threading
import weakref
from collections.abc import Callable

import pvaccess

from apsdm_bluesky.errors import FormatError, ServiceError
from apsdm_bluesky.model import CorruptFrame, Frame

from ._credit import Acknowledgement
from ._ntndarray import corrupt_frame, decode_ntndarray
from ._protocol import FrameSink, Message

logger = logging.getLogger(__name__)

# pvapy 5.6 lets go of its references to callbacks without the interpreter's lock. Were one the last (a
# monitor is stopped while frames come, a source is given up), the process would die; so all of them stay.
_callbacks: list[object] = []

# A process that exits with an active monitor is aborted by the library: stop them first.
_active: "weakref.WeakSet[PvaSource]" = weakref.WeakSet()
_EXIT_TIMEOUT_S = 2.0  # a sink that waits for room may never have it


class PvaSource:
    """A `FrameSource` over PVAccess.

    Parameters
    ----------
    channel
        Name of the NTNDArray channel, for instance ``8idLambda2m:Pva1:Image``.
    connect_timeout_s
        How long `start` waits for the channel's first update [s].
    credit
        Messages that a publisher of ours may be ahead: it waits for our acknowledgements, and its queue for
        us is made to hold these, whatever `start` asks for. 0: it does not wait (areaDetector never does).

    Attributes
    ----------
    record
        Called with each update as it came, before it is decoded, on the receiving thread: be quick.
    """

    record: Callable[[pvaccess.PvObject], None] | None = None

    def __init__(self, channel: str, *, connect_timeout_s: float = 10.0, credit: int = 0) -> None:
        self.channel_name = channel
        self._connect_timeout_s = connect_timeout_s
        self._credit = credit
        self._acknowledgement = Acknowledgement(channel, credit) if credit else None
        self._channel: pvaccess.Channel | None = None
        self._sink: FrameSink | None = None
        self._live = threading.Event()
        self._calls = threading.RLock()  # a sink may stop its source
        self._mono = False  # the first image of each subscription tells; to read it costs 5 us an attribute
        self._callback = self._on_update
        _callbacks.append(self._callback)
        # A channel that has a connection callback ends the process now and then when it is given up (pvapy
        # 5.6, by abort, once in about a hundred times). So another one, without monitor, is asked instead.
        self._watch: pvaccess.Channel | None = None

    @property
    def connected(self) -> bool:
        """Whether the channel's server answers."""
        return self._watch is not None and bool(self._watch.isConnected())

    def start(self, sink: FrameSink, *, queue_size: int) -> None:
        """Subscribe with a server queue of `queue_size` frames; see `FrameSource.start`."""
        self.stop()
        self._live.clear()
        self._mono = False
        self._sink = sink
        if self._acknowledgement is not None:
            self._acknowledgement.begin()
            queue_size = self._credit + 4
        # A new channel each time: a monitor that is restarted on an old one can go dead.
        channel = pvaccess.Channel(self.channel_name)
        self._channel = channel
        _active.add(self)
        # `field()` asks for everything: the default request brings the value only.
        channel.monitor(self._callback, f"record[queueSize={queue_size}]field()")
        # monitor() returns before it is connected; frames sent before the first update would be lost.
        if not self._live.wait(self._connect_timeout_s):
            self.stop()
            raise ServiceError(
                f"PVA channel {self.channel_name} does not answer within {self._connect_timeout_s:g} s; "
                "is the IOC running, and does EPICS_PVA_ADDR_LIST reach it?"
            )
        self._watch = self._watch or _connected_channel(self.channel_name)

    def stop(self) -> None:
        """End the subscription; see `FrameSource.stop`."""
        self._end()

    def _end(self, timeout_s: float = -1) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.stopMonitor()
        _active.discard(self)
        if not self._calls.acquire(timeout=timeout_s):  # an update that is being handled ends first
            logger.warning("%s: what takes its frames has not come to an end", self.channel_name)
            return
        try:
            self._sink = None
            if channel is not None and self._acknowledgement is not None:
                self._acknowledgement.end()
        finally:
            self._calls.release()

    def latest(self) -> Message | None:
        """The channel's current value; None when it has none, or none that can be decoded."""
        channel = pvaccess.Channel(self.channel_name)
        try:
            return decode_ntndarray(channel.get("field()"))
        except (pvaccess.PvaException, FormatError) as error:
            logger.warning("%s: the last frame cannot be read: %s", self.channel_name, error)
            return None

    def _on_update(self, structure: pvaccess.PvObject) -> None:
        if (record := self.record) is not None:
            record(structure)
        try:
            update: Message | CorruptFrame | None = decode_ntndarray(structure, mono=self._mono)
            self._mono = self._mono or isinstance(update, Frame)
        except FormatError as error:
            update = corrupt_frame(structure, error)
        with self._calls:
            if update is not None and self._sink is not None:
                self._sink(update)
            if self._sink is not None:  # else the publisher has been told that nobody listens
                self._acknowledge(update)
        self._live.set()

    def _acknowledge(self, update: Message | CorruptFrame | None) -> None:
        number = 0 if update is None else update.unique_id  # 0: the channel has had no frame yet
        if self._acknowledgement is not None and number is not None:
            self._acknowledgement.handled(number)


def _connected_channel(name: str) -> pvaccess.Channel:
    channel = pvaccess.Channel(name)
    try:
        channel.get("uniqueId")  # connects; from then on it follows the server by itself
    except pvaccess.PvaException as error:
        logger.warning("%s: its server has gone: %s", name, error)
    return channel


@atexit.register
def _stop_all() -> None:
    for source in list(_active):
        source._end(_EXIT_TIMEOUT_S)  # noqa: SLF001 - of this module
