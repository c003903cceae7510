"""The PVA plug-in of a simulated areaDetector IOC: NTNDArray as ADCore's NDPluginPva publishes them."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from ._frame_source import FrameSource, Message
from ._settings import DetectorSettings

if TYPE_CHECKING:
    from apsdm_bluesky.sources import CreditGate

__all__ = ["PvaPlugin"]

_FIELDS = {
    np.dtype(np.uint8): ("ubyteValue", pvaccess.UBYTE),
    np.dtype(np.uint16): ("ushortValue", pvaccess.USHORT),
    np.dtype(np.uint32): ("uintValue", pvaccess.UINT),
    np.dtype(np.uint64): ("ulongValue", pvaccess.ULONG),
}


class PvaPlugin:
    """Publishes messages on one PVA channel, in the camera's thread (as with BlockingCallbacks = Yes).

    The settings are those of a freshly started IOC: disabled.

    Parameters
    ----------
    settings
        Tell the channel, ``<prefix>Pva1:Image``, and how frames are sent.
    source
        Tells the shape of the images.
    port
        The camera's port; a plug-in that listens to another one gets nothing.
    """

    def __init__(self, settings: DetectorSettings, source: FrameSource, port: str) -> None:
        self.channel = f"{settings.prefix}Pva1:Image"
        self.enabled = False
        self.array_port = port
        self.min_callback_time = 0.0  # [s]
        self.queue_size = 20  # without effect: nothing is queued
        self.array_counter = 0  # of the plug-in: never reset with the camera's
        self._port = port
        self._shape = source.shape
        self._stacked = settings.frames_per_message > 1
        self._codec = settings.simulation.codec
        self._compress = _compressor(self._codec)
        self._last = -np.inf
        self._layout: tuple[object, ...] = ()
        self._update = pvaccess.NtNdArray()
        self._stop = threading.Event()
        self._gate = _gate(self.channel, settings.credit)
        self._server = pvaccess.PvaServer()
        # An object of its own: one that is given to addRecord and posted later is sent twice.
        self._server.addRecord(self.channel, pvaccess.NtNdArray(), None)
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        if self._gate is not None:
            self._gate.close()
        self._server.stop()

    def begin(self, stop: threading.Event) -> None:
        """An acquisition begins: find out who acknowledges it."""
        self._stop = stop
        if self._gate is not None and self._listening:
            self._gate.open(stop)

    def publish(self, message: Message, unique_id: int, timestamp: float) -> None:
        """Post a message, unless the plug-in is disabled, fed by another port, or called too soon."""
        now = time.monotonic()
        if not self._listening or now - self._last < self.min_callback_time:
            return
        self._last = now
        if self._gate is not None:
            self._gate.admit(unique_id, self._stop)
        self.array_counter += 1
        update = message.structure
        if update is None:
            update = self._update
            update["dataTimeStamp"] = update["timeStamp"] = _time(timestamp)
            self._describe(message)
            self._fill(message.data.ravel())
        update["uniqueId"] = unique_id
        self._server.update(self.channel, update)

    @property
    def _listening(self) -> bool:
        return self.enabled and self.array_port == self._port

    def _describe(self, message: Message) -> None:
        """All but the pixels, where it is not as in the message before."""
        layout = (message.data.shape, message.frames, message.first_frame)
        if layout == self._layout:
            return
        self._layout = layout
        shape = message.data.shape if self._stacked or message.data.ndim == 1 else self._shape
        update = self._update
        update["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in reversed(shape)]
        update["uncompressedSize"] = message.data.nbytes
        update["attribute"] = [
            pvaccess.NtAttribute(name, pvaccess.PvInt(value)) for name, value in self._attributes(message)
        ]

    def _attributes(self, message: Message) -> list[tuple[str, int]]:
        if message.data.ndim > 1:
            return [("ColorMode", 0)]
        ny, nx = self._shape
        first, frames = ("FirstFrame", message.first_frame), ("NumFrames", message.frames)
        return [("ColorMode", 0), first, frames, ("SensorX", nx), ("SensorY", ny)]

    def _fill(self, data: NDArray[Any]) -> None:
        update, (field, scalar) = self._update, _FIELDS[data.dtype]
        codec: str = ""
        size = data.nbytes // 2  # stale where there is no codec: nobody may rely on it
        if self._compress is not None and data.size:
            codec, payload = self._codec, np.frombuffer(self._compress(data), np.uint8)
            data, size, field = payload, payload.size, "ubyteValue"
        # The type is told without a codec, too.
        update["codec"] = pvaccess.PvCodec(codec, pvaccess.PvInt(int(scalar)))
        update["compressedSize"] = size
        update["value"] = {field: data}


# A detector that needs neither starts sooner without.


def _compressor(codec: str) -> Callable[[NDArray[Any]], bytes] | None:
    if codec == "none":
        return None
    from ._compress import COMPRESSORS

    return COMPRESSORS[codec]


def _gate(channel: str, credit: int) -> "CreditGate | None":
    if not credit:
        return None
    from apsdm_bluesky.sources import CreditGate

    return CreditGate(channel, credit)


def _time(timestamp: float) -> dict[str, int]:
    seconds, fraction = divmod(timestamp, 1.0)
    return {"secondsPastEpoch": int(seconds), "nanoseconds": int(fraction * 1e9), "userTag": 0}
