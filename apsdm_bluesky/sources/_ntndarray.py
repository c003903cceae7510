"""Decode an NTNDArray, the EPICS normative type for detector images. Pure: a structure in, a frame out.

Layout: EPICS V4 Normative Types, NTNDArray; behaviour of areaDetector's NDPluginPva as measured (docs:
reference). Packed events: docs/reference/events.md.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import FRAME_SHIFT, PIXEL_BITS, CorruptFrame, EventFrame, Frame
from apsdm_bluesky.reduction import event_offsets

from ._codecs import decompress

# The union's members and the dtype that each must hold.
_MEMBERS = {
    "ubyteValue": np.uint8,
    "byteValue": np.int8,
    "ushortValue": np.uint16,
    "shortValue": np.int16,
    "uintValue": np.uint32,
    "intValue": np.int32,
    "ulongValue": np.uint64,
    "longValue": np.int64,
    "floatValue": np.float32,
    "doubleValue": np.float64,
}
# codec.parameters: the type before compression, by its number in pvData's ScalarType (as in pvaccess).
_TYPES = dict(enumerate(map(np.dtype, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")), start=1))
# ADCore's NDColorMode_t, without Mono (0).
_COLOUR_MODES = {1: "Bayer", 2: "RGB1", 3: "RGB2", 4: "RGB3", 5: "YUV444", 6: "YUV422", 7: "YUV421"}
_LAST_SECOND = 2**33  # the year 2242; a clock beyond it is broken
_FRAME_NUMBERS = 1 << (64 - FRAME_SHIFT)
# What reading a field of a structure that comes from anybody raises.
UNREADABLE = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    pvaccess.PvaException,
)


def decode_ntndarray(structure: Mapping[str, Any], *, mono: bool = False) -> Frame | EventFrame | None:
    """The message that an NTNDArray is, or None where the channel has had no frame yet.

    Dimensions (x, y) are an image (ny, nx), (x, y, n) a stack (n, ny, nx), and (words) packed events. What is
    not compressed is not copied.

    Parameters
    ----------
    structure
        A mapping with the fields of an NTNDArray, for instance a `pvaccess.PvObject`.
    mono
        Whether the channel's images are known to be mono. Their attributes, which tell it, are not read then:
        pvapy takes 5 us for each, and an IOC may send dozens.

    Raises
    ------
    FormatError
        A field is missing or absurd, the image is not mono, its size does not fit its dimensions, it cannot
        be decompressed, or its packed events are not in order or in the image.
    """
    try:
        return _decoded(structure, mono)
    except FormatError as error:
        raise _refusal(structure, str(error)) from error
    except KeyError as error:
        raise _refusal(structure, f"it has no field {error}") from error
    except UNREADABLE as error:
        raise _refusal(structure, f"a field cannot be read ({error})") from error


def corrupt_frame(structure: Mapping[str, Any], error: Exception) -> CorruptFrame:
    """What can be told of a structure that `decode_ntndarray` refused with `error`. Never raises."""
    return CorruptFrame(
        unique_id=_unique_id_or_none(structure), reason=str(error), payload=_payload_or_none(structure)
    )


def _refusal(structure: Mapping[str, Any], reason: str) -> FormatError:
    unique_id = _unique_id_or_none(structure)
    return FormatError(f"NTNDArray {'without a number' if unique_id is None else unique_id}: {reason}")


def _unique_id_or_none(structure: Mapping[str, Any]) -> int | None:
    try:
        return int(structure["uniqueId"])
    except UNREADABLE:
        return None


def _payload_or_none(structure: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    try:
        data = _flat(structure["value"])
    except (*UNREADABLE, FormatError):
        return None
    return None if data is None else np.ascontiguousarray(data).reshape(-1).view(np.uint8)


def _decoded(structure: Mapping[str, Any], mono: bool) -> Frame | EventFrame | None:
    unique_id = int(structure["uniqueId"])
    flat = _flat(structure["value"])
    if flat is None:
        return None
    shape = _shape(structure["dimension"])
    timestamp = _seconds(structure["timeStamp"])
    attributes: dict[str, Any] = {}
    if not (mono and len(shape) == 2):
        attributes = {attribute["name"]: attribute["value"] for attribute in structure["attribute"]}
        _refuse_colour(attributes)
    data = _array(structure, flat, shape)
    if len(shape) == 1:
        return _events(unique_id, timestamp, data, attributes)
    return Frame(unique_id=unique_id, timestamp=timestamp, data=data)


def _flat(union: Any) -> NDArray[Any] | None:
    """The value union's selected member (pvapy hands a tuple holding one mapping); None: empty."""
    selected = (union[0] if union else None) if isinstance(union, tuple) else union
    for name, data in (selected or {}).items():
        if name not in _MEMBERS:
            raise FormatError(f"it holds {name!r}, which is no image")
        return np.asarray(data, dtype=_MEMBERS[name])
    return None


def _shape(dimensions: Any) -> tuple[int, ...]:
    sizes = [int(dimension["size"]) for dimension in dimensions]
    # No words at all are packed events without an event.
    if not 1 <= len(sizes) <= 3 or min(sizes) < (0 if len(sizes) == 1 else 1):
        raise FormatError(
            f"its dimensions {sizes} are neither an image (x, y), a stack (x, y, n) nor packed events (words)"
        )
    return tuple(reversed(sizes))  # the first dimension is the fastest: x


def _refuse_colour(attributes: Mapping[str, Any]) -> None:
    mode = _number(attributes, "ColorMode") if "ColorMode" in attributes else 0
    if mode:
        name = _COLOUR_MODES.get(mode, f"number {mode}")
        raise FormatError(f"its colour mode {name} makes no sense here; set ColorMode to Mono")


def _number(attributes: Mapping[str, Any], name: str) -> int:
    """An NTAttribute's value, which sits in a union as the image does."""
    try:
        return int(attributes[name][0]["value"])
    except UNREADABLE as error:
        raise FormatError(f"its attribute {name} is missing or no number") from error


def _seconds(stamp: Any) -> float:
    seconds, nanoseconds = stamp["secondsPastEpoch"], stamp["nanoseconds"]
    if not (0 <= seconds < _LAST_SECOND and 0 <= nanoseconds < 1_000_000_000):  # NaN fails too
        raise FormatError(f"its time stamp of {seconds} s and {nanoseconds} ns is none")
    return float(seconds) + 1e-9 * float(nanoseconds)


def _array(structure: Mapping[str, Any], flat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    codec = structure["codec"]
    if codec["name"]:
        return _decompressed(structure, codec, flat, shape)
    if flat.size != math.prod(shape):
        raise FormatError(f"it holds {flat.size} values, its dimensions {shape} say {math.prod(shape)}")
    return flat.reshape(shape)


def _decompressed(
    structure: Mapping[str, Any], codec: Mapping[str, Any], payload: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    if payload.dtype != np.uint8:
        raise FormatError(f"it is compressed ({codec['name']}), but holds {payload.dtype}, not bytes")
    dtype = _TYPES.get(_number(codec, "parameters"))
    if dtype is None:
        raise FormatError(f"its codec's parameter {codec['parameters'][0]['value']} is no type of pixels")
    size, uncompressed = structure["compressedSize"], structure["uncompressedSize"]
    if not 0 <= size <= payload.size or uncompressed != math.prod(shape) * dtype.itemsize:
        raise FormatError(
            f"it states {size} bytes for {uncompressed}, but has {payload.size} for {shape} {dtype}"
        )
    return decompress(codec["name"], payload[:size], shape, dtype)


def _events(unique_id: int, timestamp: float, words: NDArray[Any], attributes: Any) -> EventFrame:
    if words.dtype != np.uint64:
        raise FormatError(f"it holds packed events of {words.dtype}, not uint64")
    first, frames, nx, ny = (
        _number(attributes, name) for name in ("FirstFrame", "NumFrames", "SensorX", "SensorY")
    )
    if not (0 <= first < first + frames <= _FRAME_NUMBERS):
        raise FormatError(f"its frames {first} + {frames} do not fit a word's {_FRAME_NUMBERS} numbers")
    if min(nx, ny) < 1 or nx * ny > 1 << PIXEL_BITS:
        raise FormatError(
            f"its images of {nx} x {ny} are empty, or larger than a word's {1 << PIXEL_BITS} pixels"
        )
    offsets = np.zeros(frames + 1, np.int64)
    words.flags.writeable = False  # as what comes from PVA is: one compiled kernel for both
    wrong = event_offsets(words, first, nx * ny, offsets)
    if wrong >= 0:
        raise FormatError(
            f"its event {wrong} ({int(words[wrong]):#018x}) lies before the one ahead of it, or outside "
            f"frames {first} to {first + frames - 1} or {nx} x {ny} pixels"
        )
    return EventFrame(unique_id=unique_id, timestamp=timestamp, words=words, offsets=offsets, shape=(ny, nx))
