"""The camera of a simulated areaDetector IOC: numbers its messages and keeps time. It knows no protocol."""

import itertools
import logging
import math
import threading
import time
from enum import IntEnum
from typing import Protocol

from ._frame_source import FrameSource, Message
from ._settings import Fault

__all__ = ["Camera", "DetectorState", "ImageMode", "Plugin"]

logger = logging.getLogger(__name__)


class Plugin(Protocol):
    """Gets what the camera takes, in the acquisition's thread."""

    def begin(self, stop: threading.Event) -> None:
        """An acquisition begins. Once `stop` is set, nothing is to be waited for."""
        ...

    def publish(self, message: Message, unique_id: int, timestamp: float) -> None:
        """Take a message, its number and its time (seconds since the Unix epoch)."""
        ...


class ImageMode(IntEnum):
    """How many frames an acquisition takes."""

    Single = 0
    Multiple = 1
    Continuous = 2


class DetectorState(IntEnum):
    """The states of ADCore's ``ADStatus_t`` that this camera knows, with ADCore's numbers."""

    Idle = 0
    Acquire = 1
    Readout = 2
    Error = 6
    Waiting = 7


class Camera:
    """Takes one acquisition at a time, in a thread. The settings are those of a freshly started IOC.

    An acquisition takes over `acquire_time`, `acquire_period`, `num_images` and `image_mode` as they are at
    its start; `array_callbacks` and `array_counter` act at once. A message is due with its last frame, at
    fixed times after the start, so a late one delays none after it.

    Parameters
    ----------
    source
        Gives the frames.
    plugin
        Gets each message, unless `array_callbacks` is off or a fault says otherwise.
    fault
        Losses to inject.
    frames_per_message
        The last message of an acquisition may have fewer.
    speed
        How much faster than they say messages are sent; 0: each as soon as the one before is taken.
    """

    def __init__(
        self,
        source: FrameSource,
        plugin: Plugin,
        fault: Fault,
        *,
        frames_per_message: int = 1,
        speed: float = 1.0,
    ) -> None:
        self.source = source
        self.acquire_time = 0.001  # [s]
        self.acquire_period = 0.005  # [s]
        self.num_images = 100
        self.image_mode = ImageMode.Continuous
        self.array_callbacks = True
        self._array_counter = source.base_id
        self.wait_for_plugins = False  # without effect: the plug-in works in the camera's thread
        self.num_images_counter = 0
        self.arrays_lost = 0  # messages, by a fault
        self.state = DetectorState.Idle
        self._plugin = plugin
        self._fault = fault
        self._frames_per_message = frames_per_message
        self._speed = speed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._ended.set()

    @property
    def array_counter(self) -> int:
        """Number of the last message; what is written to it counts from the next one on."""
        return self._array_counter

    @array_counter.setter
    def array_counter(self, number: int) -> None:
        with self._lock:
            self._array_counter = number

    @property
    def acquiring(self) -> bool:
        """Whether an acquisition is under way."""
        return not self._ended.is_set()

    def start(self) -> threading.Event:
        """Start an acquisition, unless one is under way; returns what is set at its end."""
        with self._lock:
            if self._ended.is_set():
                self._ended, self._stop = threading.Event(), threading.Event()
                self.state = DetectorState.Acquire
                self.num_images_counter = 0
                threading.Thread(target=self._run, args=(self._stop, self._ended), daemon=True).start()
            return self._ended

    def stop(self) -> threading.Event:
        """End the acquisition at once, if there is one; returns what is set when it has ended."""
        self._stop.set()
        return self._ended

    def _run(self, stop: threading.Event, ended: threading.Event) -> None:
        try:
            self._acquire(stop)
            self.state = DetectorState.Idle
        except Exception:  # shown as the detector's state, as a driver does
            logger.exception("the acquisition failed")
            self.state = DetectorState.Error
        finally:
            ended.set()

    def _acquire(self, stop: threading.Event) -> None:
        limits = {ImageMode.Single: 1, ImageMode.Multiple: max(1, self.num_images)}
        left = limits.get(self.image_mode, math.inf)
        period = max(self.acquire_time, self.acquire_period)
        self._plugin.begin(stop)
        take = self.source.series(_after(self.array_counter))
        start, exposed = time.monotonic(), 0.0
        for index in itertools.count():
            if left <= 0:
                return
            self.state = DetectorState.Acquire
            message = take(int(min(left, self._frames_per_message)))
            if message is None:
                return
            if index == self._fault.stop_after:
                stop.wait()
            frames = message.frames + message.skipped * self._frames_per_message
            exposed += frames * period
            due_s = exposed if message.due_s is None else message.due_s
            if stop.wait(max(0.0, start + due_s / self._speed - time.monotonic()) if self._speed else 0):
                return
            self.state = DetectorState.Readout
            self._read_out(message, index)
            self.state = DetectorState.Waiting
            left -= frames

    def _read_out(self, message: Message, index: int) -> None:
        """Messages are numbered whether or not they are published."""
        self.num_images_counter += message.frames
        with self._lock:
            number = self._array_counter = _after(self._array_counter + message.skipped)
        if not self.array_callbacks:
            return
        if index in self._fault.drop:
            self.arrays_lost += 1
            return
        for _ in range(2 if index in self._fault.duplicate else 1):
            self._plugin.publish(message, number, time.time())


def _after(number: int) -> int:
    """The next message's number: a 32-bit signed integer that wraps round."""
    return (number + 1 + 2**31) % 2**32 - 2**31
