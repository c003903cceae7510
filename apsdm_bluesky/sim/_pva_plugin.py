"""The PVA plug-in of a simulated areaDetector IOC: NTNDArray as ADCore's NDPluginPva publishes them."""

import time
from typing import Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from ._frame_source import FrameSource

__all__ = ["PvaPlugin"]

_FIELDS = {
    np.dtype(np.uint8): ("ubyteValue", pvaccess.UBYTE),
    np.dtype(np.uint16): ("ushortValue", pvaccess.USHORT),
    np.dtype(np.uint32): ("uintValue", pvaccess.UINT),
}


class PvaPlugin:
    """Publishes frames on one PVA channel, in the camera's thread (as with BlockingCallbacks = Yes).

    The settings are those of a freshly started IOC: disabled.

    Parameters
    ----------
    channel
        Its name, ``<prefix>Pva1:Image``.
    source
        Tells shape and dtype of the images.
    port
        The camera's port; a plug-in that listens to another one gets nothing.
    """

    def __init__(self, channel: str, source: FrameSource, port: str) -> None:
        self.channel = channel
        self.enabled = False
        self.array_port = port
        self.min_callback_time = 0.0  # [s]
        self.queue_size = 20  # without effect: nothing is queued
        self.array_counter = 0  # of the plug-in: never reset with the camera's
        self._port = port
        self._last = -np.inf
        self._field, scalar = _FIELDS[source.dtype]
        self._update = _frame_without_image(source, scalar)
        self._server = pvaccess.PvaServer()
        # An object of its own: one that is given to addRecord and posted later is sent twice.
        self._server.addRecord(channel, pvaccess.NtNdArray(), None)
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def publish(self, image: NDArray[Any], unique_id: int, timestamp: float) -> None:
        """Post one frame, unless the plug-in is disabled, fed by another port, or called too soon."""
        now = time.monotonic()
        if not self.enabled or self.array_port != self._port or now - self._last < self.min_callback_time:
            return
        self._last = now
        self.array_counter += 1
        update = self._update
        update["uniqueId"] = unique_id
        update["dataTimeStamp"] = update["timeStamp"] = _time(timestamp)
        update["value"] = {self._field: image.ravel()}
        self._server.update(self.channel, update)


def _frame_without_image(source: FrameSource, scalar: Any) -> Any:
    """All that is the same in every frame."""
    ny, nx = source.shape
    size = ny * nx * source.dtype.itemsize
    frame = pvaccess.NtNdArray()
    frame["codec"] = pvaccess.PvCodec("", pvaccess.PvInt(int(scalar)))  # the type is told without a codec too
    frame["uncompressedSize"] = size
    frame["compressedSize"] = size // 2  # stale where there is no codec: nobody may rely on it
    frame["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in (nx, ny)]
    frame["attribute"] = [
        pvaccess.NtAttribute("ColorMode", pvaccess.PvInt(0)),
    ]
    return frame


def _time(timestamp: float) -> dict[str, int]:
    seconds, fraction = divmod(timestamp, 1.0)
    return {"secondsPastEpoch": int(seconds), "nanoseconds": int(fraction * 1e9), "userTag": 0}
