"""The collector of a group: consumers call it with every message, and it answers when it has taken it.

Why no ``pvapy-hpc-collector``: it polls the consumers' channels, which appear only with their first frame;
it releases a run's tail after 5 s of silence; it starts anew at a smaller number; and what it drops nobody is
told. A call is confirmed: nothing is lost between a consumer and here, a busy collector holds the consumers
up, and a consumer may come, die and come back, on any machine, without being announced.
"""

import logging
import threading
import time

import pvaccess

from apsdm_bluesky.errors import ApsdmError, FormatError, LockedError, ServiceError
from apsdm_bluesky.reduction import SeriesResult

from ._hpc_series import GroupSeries
from ._hpc_wire import Delivery, from_wire

logger = logging.getLogger(__name__)

_SEARCH_S = 1.0
_PATIENCE_S = 5.0


class Collector:
    """Answers a group's consumers on a PVA channel, from `start` to `close`.

    Parameters
    ----------
    channel
        Name of the RPC channel to answer on.
    series
        Takes what they deliver.
    """

    def __init__(self, channel: str, series: GroupSeries) -> None:
        self.series = series
        self._channel = channel
        self._changed = threading.Condition()
        self._last = time.monotonic()
        self._failure: ApsdmError | None = None
        self._closed = False
        self._refused = 0
        self._server = pvaccess.RpcServer()
        self._callback = self._on_call  # the library drops its reference without the interpreter's lock

    def start(self) -> None:
        """Answer from now on.

        Raises
        ------
        LockedError
            Another collector answers on this channel.
        """
        if _answers(self._channel):
            raise LockedError(
                f"{self._channel}: another collector answers there; end that one, or set stream.collector"
            )
        self._server.registerService(self._channel, self._callback)
        self._server.startListener()

    @property
    def present(self) -> set[int]:
        """The processes of the consumers that are subscribed."""
        with self._changed:
            return self.series.subscribed

    def over(self, stall_timeout_s: float) -> bool:
        """Whether the series is complete, or has begun and been silent for so long.

        Raises
        ------
        ApsdmError
            It cannot be reduced.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            silent = time.monotonic() - self._last > stall_timeout_s and not self.series.full
            return self.series.settled or (self.series.begun and silent)

    def status(self) -> dict[str, object]:
        """The account so far, as numbers by name."""
        with self._changed:
            return {**account(self.series), "refused": self._refused}

    def gone(self, process: int) -> None:
        """A consumer's process is dead."""
        with self._changed:
            self.series.gone(process)
            self._changed.notify_all()

    def close(self) -> SeriesResult | None:
        """Take nothing more; the result of what came. See `GroupSeries.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self.series.close()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stopListener()

    def _on_call(self, structure: pvaccess.PvObject) -> pvaccess.PvObject:
        try:
            delivery = from_wire(structure)
        except FormatError as error:
            self._refuse(error)
            return _TAKEN
        with self._changed:
            if not self._closed and self._failure is None:
                self._take(delivery)
        return _TAKEN

    def _refuse(self, error: FormatError) -> None:
        """A stranger's call: whoever reaches the channel may call it."""
        with self._changed:
            self._refused += 1
            if self._refused == 1:
                logger.warning("%s: %s; the caller is refused, and so is all like it", self._channel, error)

    def _take(self, delivery: Delivery) -> None:
        self._last = time.monotonic()
        try:
            self.series.take(delivery)
            self._changed.notify_all()
            self._hold_up()
        except ApsdmError as error:
            self._failure = error
        except Exception as error:  # the library would only print it: the group ends by it
            logger.exception("%s: a delivery could not be taken", self._channel)
            self._failure = ServiceError(f"{self._channel}: {type(error).__name__}: {error}")

    def _hold_up(self) -> None:
        """Answer a consumer that is ahead only when there is room: the others catch up meanwhile."""
        if not self._changed.wait_for(lambda: self._closed or not self.series.full, _PATIENCE_S):
            logger.warning("%s: a consumer is silent; its messages count as missing", self._channel)
            self.series.wait_no_more()
            self._changed.notify_all()


_TAKEN = pvaccess.PvObject({"value": pvaccess.BOOLEAN}, {"value": True})


def _answers(channel: str) -> bool:
    try:
        pvaccess.RpcClient(channel).invoke(pvaccess.NtNdArray(), _SEARCH_S)
    except pvaccess.PvaException:
        return False
    return True


def account(series: GroupSeries) -> dict[str, object]:
    """The ledger of a series and of its consumers, ready for JSON."""
    ledger = series.ledger()
    return {
        **{name: getattr(ledger, name) for name in ledger.__slots__},
        "waiting": series.waiting,
        "corrupt_reason": series.corrupt_reason,
        "consumers": {str(number): counts.counts() for number, counts in sorted(series.consumers.items())},
    }


def last_id(channel: str, timeout_s: float = 10.0) -> int:
    """Number of the message that an NTNDArray channel sent last; 0 where it has sent none.

    Raises
    ------
    ServiceError
        It does not answer.
    """
    source = pvaccess.Channel(channel)
    source.setTimeout(timeout_s)
    try:
        return int(source.get("field(uniqueId)")["uniqueId"])
    except (pvaccess.PvaException, KeyError) as error:
        raise ServiceError(
            f"PVA channel {channel} does not answer with an NTNDArray within {timeout_s:g} s; "
            "is the IOC running, and does EPICS_PVA_ADDR_LIST reach it?"
        ) from error
