"""Decode an NTNDArray, the EPICS normative type for detector images. Pure: a structure in, a frame out.

Layout: EPICS V4 Normative Types, NTNDArray; behaviour of areaDetector's NDPluginPva as measured (docs:
reference).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import CorruptFrame, EventFrame, Frame

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

# What reading a field of a structure that is no NTNDArray raises.
_UNREADABLE = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    pvaccess.PvaException,
)


def decode_ntndarray(structure: Mapping[str, Any]) -> Frame | EventFrame | None:
    """The frame of an NTNDArray, or None where the channel has had no frame yet.

    Parameters
    ----------
    structure
        A mapping with the fields of an NTNDArray, for instance a `pvaccess.PvObject`.

    Raises
    ------
    FormatError
        A field is missing, the image is compressed, not 2-D, or its size does not fit its dimensions.
    """
    try:
        return _decoded(structure)
    except FormatError:
        raise
    except KeyError as error:
        raise FormatError(f"no NTNDArray: it has no field {error}") from error
    except _UNREADABLE as error:
        raise FormatError(f"no NTNDArray: a field cannot be read ({error})") from error


def corrupt_frame(structure: Mapping[str, Any], error: Exception) -> CorruptFrame:
    """What can be told of a structure that `decode_ntndarray` refused with `error`. Never raises."""
    return CorruptFrame(
        unique_id=_unique_id_or_none(structure), reason=str(error), payload=_payload_or_none(structure)
    )


def _unique_id_or_none(structure: Mapping[str, Any]) -> int | None:
    try:
        return int(structure["uniqueId"])
    except _UNREADABLE:
        return None


def _payload_or_none(structure: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    try:
        data = _flat(structure["value"])
    except (*_UNREADABLE, FormatError):
        return None
    return None if data is None else np.ascontiguousarray(data).ravel().view(np.uint8)


def _decoded(structure: Mapping[str, Any]) -> Frame | None:
    unique_id = int(structure["uniqueId"])
    data = _flat(structure["value"])
    codec, stamp, dimensions = structure["codec"]["name"], structure["timeStamp"], structure["dimension"]
    if data is None:
        return None
    if codec:
        raise FormatError(f"frame {unique_id} is compressed ({codec}); switch the IOC's codec off")
    timestamp = float(stamp["secondsPastEpoch"]) + 1e-9 * float(stamp["nanoseconds"])
    return Frame(unique_id=unique_id, timestamp=timestamp, data=_reshaped(data, dimensions, unique_id))


def _flat(union: Any) -> "np.ndarray[Any, Any] | None":
    """The value union's selected member (pvapy hands a tuple holding one mapping); None: empty."""
    selected = (union[0] if union else None) if isinstance(union, tuple) else union
    for name, data in (selected or {}).items():
        if name not in _MEMBERS:
            raise FormatError(f"NTNDArray holds {name!r}, which is no image")
        return np.asarray(data, dtype=_MEMBERS[name])
    return None


def _reshaped(data: "np.ndarray[Any, Any]", dimensions: Any, unique_id: int) -> "np.ndarray[Any, Any]":
    sizes = [int(dimension["size"]) for dimension in dimensions]
    if len(sizes) != 2 or min(sizes) < 1:
        raise FormatError(f"frame {unique_id} has dimensions {sizes}; a mono image (x, y) is expected")
    width, height = sizes  # the first dimension is the fastest: x
    if data.size != width * height:
        raise FormatError(
            f"frame {unique_id} holds {data.size} pixels, its dimensions say {width} x {height}"
        )
    return data.reshape(height, width)
