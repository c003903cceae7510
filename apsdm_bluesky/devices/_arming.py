"""Arm, start and stop an areaDetector driver; the recipe and its reasons were measured on a real IOC."""

import logging
import threading
from dataclasses import dataclass

from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.streaming import AcquisitionInfo

from ._records import CameraRecords, PvaPluginRecords

logger = logging.getLogger(__name__)

_MULTIPLE = 1  # ImageMode
_PUT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Arming:
    """Prepares and drives the detector through its records."""

    cam: CameraRecords
    pva: PvaPluginRecords
    frames_per_message: int = 1
    events: bool = False

    def info(self) -> AcquisitionInfo:
        """What the camera is set to send.

        Raises
        ------
        AcquisitionError
            The camera announces no image.
        """
        shape = (int(self.cam.size_y.get()), int(self.cam.size_x.get()))
        dtype = str(self.cam.data_type.get()).lower()
        if min(shape) < 1 or dtype not in _PIXEL_TYPES:
            raise AcquisitionError(
                f"{self.cam.prefix}: announces {shape} pixels of {dtype!r}; set SizeX, SizeY and DataType"
            )
        return AcquisitionInfo(
            expected=int(self.cam.num_images.get()),
            frame_shape=shape,
            dtype=dtype,
            period_s=max(float(self.cam.acquire_period.get()), float(self.cam.acquire_time.get())),
            frames_per_message=self.frames_per_message,
            events=self.events,
        )

    def prepare(self) -> None:
        """Everything that a restarted IOC may have lost: callbacks, plug-in, image mode."""
        if self.cam.acquiring.get(use_monitor=False):
            raise AcquisitionError(f"{self.cam.prefix}: is acquiring already; stop it first (Acquire = 0)")
        settings = (
            (self.cam.image_mode, _MULTIPLE),
            (self.cam.array_callbacks, 1),
            (self.pva.enable, 1),
        )
        for signal, value in settings:
            if signal.get() != value:
                logger.info("%s: set to %s", signal.setpoint_pvname, value)
                signal.set(value, timeout=_PUT_TIMEOUT_S).wait(_PUT_TIMEOUT_S)
        # With it, Acquire ends only after every plug-in has handed on every frame.
        self.cam.wait_for_plugins.put(1, wait=True, timeout=_PUT_TIMEOUT_S)

    def frame_counter(self) -> int:
        """The number of the last frame, read from the IOC."""
        return int(self.cam.array_counter.get(use_monitor=False))

    def start(self) -> threading.Event:
        """Start; the event is set when the acquisition has ended, for whatever reason."""
        ended = threading.Event()
        self.cam.acquire.put(1, wait=False, use_complete=True, callback=lambda **_: ended.set())
        return ended

    def stop(self) -> None:
        """Stop at once; harmless when idle."""
        self.cam.acquire.put(0, wait=False, use_complete=False)


_PIXEL_TYPES = {
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
}
