"""The consumers of a group: a user data processor of pvapy's HPC framework."""

import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pvaccess
from pvapy.hpc.userDataProcessor import UserDataProcessor

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import CorruptFrame, Frame
from apsdm_bluesky.sources import Message, decode_ntndarray

from ._hpc_wire import Sender, sparse, to_wire

# Longer than the collector ever holds a message up; shorter than forever, so that the process can end.
_ANSWER_TIMEOUT_S = 20.0


class EventProcessor(UserDataProcessor):
    """Decodes each message, packs its events and hands it to the group's collector, which confirms it.

    For ``pvapy-hpc-consumer --processor-class apsdm_bluesky.streaming._hpc_consumer.EventProcessor``, with
    ``--skip-initial-updates 0``: the collector knows by its number what is left from before.

    Parameters
    ----------
    configDict
        ``--processor-args``: ``collector``, the channel that the collector answers on.
    """

    def __init__(self, configDict: Mapping[str, Any]) -> None:
        super().__init__(configDict)
        self._channel = configDict["collector"]
        self._collector = pvaccess.RpcClient(self._channel)
        self._number = int(configDict["processorId"])
        self._calls = threading.Lock()
        self.received = self.confirmed = 0
        # Compile, and be known to the collector, before messages come: it waits for those that it knows.
        sparse(Frame(unique_id=0, timestamp=0.0, data=np.eye(8, dtype=np.uint16)))
        try:
            self._deliver(None)
        except pvaccess.PvaException as error:
            raise SystemExit(f"no collector answers on {self._channel}; start the group first") from error

    def process(self, pvObject: pvaccess.PvObject) -> pvaccess.PvObject:
        """Handle one update; returns it. The first one is the value that the channel has already."""
        with self._calls:
            self.received += 1
            message = _decoded(pvObject)
            self._deliver(message)
            self.confirmed += 1
        return pvObject

    def _deliver(self, message: Message | CorruptFrame | None) -> None:
        sender = Sender(consumer=self._number, process=os.getpid(), received=self.received)
        array = _ntndarray(to_wire(sender, message))
        try:
            self._collector.invoke(array, _ANSWER_TIMEOUT_S)
        except pvaccess.PvaException:
            # The collector of the series before is gone; that of the next one is found by a new client. A
            # message that had been taken for all that is taken as a duplicate.
            self._collector = pvaccess.RpcClient(self._channel)
            self._collector.invoke(array, _ANSWER_TIMEOUT_S)

    def resetStats(self) -> None:  # noqa: N802
        """Keep counting: the collector finds by the numbers what it did not get."""

    def getStats(self) -> dict[str, int]:  # noqa: N802
        """Messages received, and confirmed by the collector."""
        return {"received": self.received, "confirmed": self.confirmed}

    def getStatsPvaTypes(self) -> dict[str, Any]:  # noqa: N802
        """The types of `getStats`."""
        return {"received": pvaccess.ULONG, "confirmed": pvaccess.ULONG}


def _decoded(structure: pvaccess.PvObject) -> Message | CorruptFrame | None:
    try:
        message = decode_ntndarray(structure)
    except FormatError as error:
        return CorruptFrame(unique_id=int(structure["uniqueId"]), reason=str(error))
    return None if message is None else sparse(message)


def _ntndarray(fields: dict[str, Any]) -> pvaccess.NtNdArray:
    array = pvaccess.NtNdArray()
    attributes = fields.pop("attribute")
    array.set(fields)
    array["attribute"] = [pvaccess.NtAttribute(name, _typed(value)) for name, value in attributes.items()]
    return array


def _typed(value: Any) -> pvaccess.PvObject:
    if isinstance(value, str):
        return pvaccess.PvString(value)
    if isinstance(value, np.ndarray):
        kind = pvaccess.LONG if value.dtype.kind == "i" else pvaccess.DOUBLE
        return pvaccess.PvObject({"value": [kind]}, {"value": value})
    return pvaccess.PvLong(value)
