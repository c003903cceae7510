"""The Channel Access records of a simulated areaDetector IOC: views of a camera and its PVA plug-in.

Readbacks are looked up in the camera fifty times a second, and before a put completes. Counters may lag by
20 ms while frames run, and are exact when Acquire has ended.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from caproto import AccessRights, ChannelData, ChannelDouble, ChannelEnum, ChannelInteger, ChannelString

from ._camera import Camera
from ._pva_plugin import PvaPlugin

__all__ = ["PORT", "DetectorRecords"]

PORT = "SIM1"  # the camera's, as plug-ins know it

_REFRESH_S = 0.02
_NO_YES = ("No", "Yes")
_DISABLE_ENABLE = ("Disable", "Enable")
_IDLE_BUSY = ("Done", "Acquire")
_MODES = ("Single", "Multiple", "Continuous")
_STATES = (
    "Idle",
    "Acquire",
    "Readout",
    "Correct",
    "Saving",
    "Aborting",
    "Error",
    "Waiting",
    "Initializing",
    "Disconnected",
    "Aborted",
)
_DATA_TYPES = {
    "int8": "Int8",
    "uint8": "UInt8",
    "int16": "Int16",
    "uint16": "UInt16",
    "int32": "Int32",
    "uint32": "UInt32",
    "int64": "Int64",
    "uint64": "UInt64",
    "float32": "Float32",
    "float64": "Float64",
}


class _ReadOnly:
    """Mixed into a channel: clients cannot put."""

    def check_access(self, *_client: Any) -> AccessRights:
        return AccessRights.READ


class _Puttable:
    """Mixed into a channel: what a client puts goes through `on_put`, which returns what to store."""

    on_put: Callable[[Any], Awaitable[Any]]

    async def verify_value(self, data: Any) -> Any:
        return await self.on_put(await super().verify_value(data))  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Setting:
    """A record and its `_RBV`, both of one attribute of the camera or plug-in."""

    name: str
    target: object
    attribute: str
    choices: tuple[str, ...] = ()

    def read(self) -> Any:
        return _shown(getattr(self.target, self.attribute), self.choices)

    def apply(self, value: Any) -> None:
        """Raise ValueError for what an IOC would not take either."""
        raw = self.choices.index(value) if self.choices else value
        if isinstance(raw, float) and not math.isfinite(raw):
            raise ValueError(f"{self.name}: {raw} is no finite number")
        kind = type(getattr(self.target, self.attribute))
        setattr(self.target, self.attribute, kind(raw))


class DetectorRecords:
    """All records of one detector, in `pvdb` as caproto serves them."""

    def __init__(self, prefix: str, camera: Camera, plugin: PvaPlugin) -> None:
        self.pvdb: dict[str, ChannelData] = {}
        self._prefix = prefix
        self._camera = camera
        self._readbacks: list[tuple[ChannelData, Callable[[], Any]]] = []
        for setting in _settings(camera, plugin):
            self._add_setting(setting)
        for name, read, choices in _readbacks(camera, plugin):
            self._add_readback(name, read, choices)
        acquire = self._add("cam1:Acquire", _Puttable, "Done", _IDLE_BUSY)
        acquire.on_put = self._acquire
        self._readbacks.append((acquire, lambda: _shown(camera.acquiring, _IDLE_BUSY)))

    async def refresh(self) -> None:
        """Bring every readback up to date."""
        for channel, read in self._readbacks:
            value = read()
            if channel.value != value:
                await channel.write(value, verify_value=False)

    async def refresh_forever(self) -> None:
        """Keep the readbacks up to date."""
        while True:
            await self.refresh()
            await asyncio.sleep(_REFRESH_S)

    async def _acquire(self, value: str) -> str:
        """A put that waits completes when the acquisition ends, whoever ended it; so does a second start."""
        ended = self._camera.start() if value == "Acquire" else self._camera.stop()
        await self.refresh()
        await asyncio.to_thread(ended.wait)
        await self.refresh()
        return "Done"

    def _add_setting(self, setting: _Setting) -> None:
        async def on_put(value: Any) -> Any:
            setting.apply(value)
            await self.refresh()
            return value

        channel = self._add(setting.name, _Puttable, setting.read(), setting.choices)
        channel.on_put = on_put
        self._add_readback(f"{setting.name}_RBV", setting.read, setting.choices)

    def _add_readback(self, name: str, read: Callable[[], Any], choices: tuple[str, ...] = ()) -> None:
        self._readbacks.append((self._add(name, _ReadOnly, read(), choices), read))

    def _add(self, name: str, mixin: type, value: Any, choices: tuple[str, ...]) -> Any:
        if choices:
            kind, options = ChannelEnum, {"enum_strings": choices}
        else:
            kind, options = {str: ChannelString, float: ChannelDouble}.get(type(value), ChannelInteger), {}
        channel = type(kind.__name__, (mixin, kind), {})(value=value, **options)
        self.pvdb[self._prefix + name] = channel
        return channel


def _shown(value: Any, choices: tuple[str, ...]) -> Any:
    return choices[value] if choices else value


def _settings(camera: Camera, plugin: PvaPlugin) -> list[_Setting]:
    return [
        _Setting("cam1:NumImages", camera, "num_images"),
        _Setting("cam1:ImageMode", camera, "image_mode", _MODES),
        _Setting("cam1:AcquireTime", camera, "acquire_time"),
        _Setting("cam1:AcquirePeriod", camera, "acquire_period"),
        _Setting("cam1:ArrayCounter", camera, "array_counter"),
        _Setting("cam1:ArrayCallbacks", camera, "array_callbacks", _DISABLE_ENABLE),
        _Setting("cam1:WaitForPlugins", camera, "wait_for_plugins", _NO_YES),
        _Setting("Pva1:EnableCallbacks", plugin, "enabled", _DISABLE_ENABLE),
        _Setting("Pva1:NDArrayPort", plugin, "array_port"),
        _Setting("Pva1:MinCallbackTime", plugin, "min_callback_time"),
        _Setting("Pva1:QueueSize", plugin, "queue_size"),
        _Setting("Pva1:DroppedArrays", camera, "arrays_lost"),
    ]


def _readbacks(camera: Camera, plugin: PvaPlugin) -> list[tuple[str, Callable[[], Any], tuple[str, ...]]]:
    ny, nx = camera.source.shape
    data_type = _DATA_TYPES[camera.source.dtype.name]
    return [
        ("cam1:Acquire_RBV", lambda: _shown(camera.acquiring, _IDLE_BUSY), _IDLE_BUSY),
        ("cam1:AcquireBusy", lambda: _shown(camera.acquiring, _IDLE_BUSY), _IDLE_BUSY),
        ("cam1:NumImagesCounter_RBV", lambda: camera.num_images_counter, ()),
        ("cam1:DetectorState_RBV", lambda: _STATES[camera.state], _STATES),
        ("cam1:DataType_RBV", lambda: data_type, tuple(_DATA_TYPES.values())),
        ("cam1:PortName_RBV", lambda: PORT, ()),
        *((f"cam1:{name}_RBV", lambda: nx, ()) for name in ("SizeX", "MaxSizeX")),
        *((f"cam1:{name}_RBV", lambda: ny, ()) for name in ("SizeY", "MaxSizeY")),
        ("Pva1:ArrayCounter_RBV", lambda: plugin.array_counter, ()),
        ("Pva1:PvName_RBV", lambda: plugin.channel, ()),
    ]
