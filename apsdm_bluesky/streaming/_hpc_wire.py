"""What a consumer of the group sends to the collector, as the fields of an NTNDArray. Pure.

Packed events as docs/reference/events.md says, dense images as areaDetector sends them, both with the
attributes of `Sender` and with `Totals`, the counts of each frame. A message that could not be decoded
has no value and the attribute `Corrupt` with the reason; a consumer's first word has no value and no number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError, ReductionError
from apsdm_bluesky.model import COUNT_BITS, FRAME_SHIFT, CorruptFrame, EventFrame, Frame, FrameBatch
from apsdm_bluesky.reduction import pack_events
from apsdm_bluesky.sources import UNREADABLE, Message, decode_ntndarray

_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends, and how far it is.

    Parameters
    ----------
    consumer
        Number of the consumer in its group.
    process
        Its process; another one is a restarted consumer.
    received
        Messages that this process has received, this one included.
    """

    consumer: int
    process: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What reaches the collector; `message` is None where a consumer only says that it is there."""

    sender: Sender
    message: Message | CorruptFrame | None


def sparse(message: Message) -> Message:
    """The message as packed events; as it came where its frames do not fit event words."""
    if isinstance(message, EventFrame):
        return message
    frames = message.data.reshape(message.count, *message.data.shape[-2:])
    try:
        packed = pack_events(FrameBatch(frames=frames, indices=np.arange(len(frames))))
    except ReductionError:
        return message
    return EventFrame(
        unique_id=message.unique_id,
        timestamp=message.timestamp,
        words=packed.words,
        offsets=packed.offsets,
        shape=packed.shape,
    )


def to_wire(sender: Sender, message: Message | CorruptFrame | None) -> dict[str, Any]:
    """The fields of an NTNDArray, with `attribute` as a mapping."""
    attributes: dict[str, Any] = {name.capitalize(): getattr(sender, name) for name in _SENDER}
    if message is None:
        return {"uniqueId": 0, "attribute": attributes}
    if isinstance(message, CorruptFrame):
        return {"uniqueId": message.unique_id or 0, "attribute": {**attributes, "Corrupt": message.reason}}
    value, sizes = _dense(message) if isinstance(message, Frame) else _packed(message, attributes)
    attributes["Totals"] = frame_totals(message)
    seconds = int(message.timestamp)
    return {
        "uniqueId": message.unique_id,
        "value": value,
        "dimension": [{"size": size, "fullSize": size, "binning": 1} for size in sizes],
        "timeStamp": {
            "secondsPastEpoch": seconds,
            "nanoseconds": round(1e9 * (message.timestamp - seconds)),
        },
        "attribute": attributes,
    }


def from_wire(structure: Mapping[str, Any]) -> Delivery:
    """What a consumer sent. A message that is damaged on its way, or whose counts differ, is corrupt.

    Raises
    ------
    FormatError
        It does not come from a consumer of a group.
    """
    try:
        attributes = {entry["name"]: entry["value"][0]["value"] for entry in structure["attribute"]}
        sender = Sender(**{name: int(attributes[name.capitalize()]) for name in _SENDER})
        unique_id = int(structure["uniqueId"])
    except UNREADABLE as error:
        raise FormatError(f"this is no message of a stream consumer: {error} cannot be read") from error
    if "Corrupt" in attributes:
        reason = str(attributes["Corrupt"])
        return Delivery(sender=sender, message=CorruptFrame(unique_id=unique_id, reason=reason))
    try:
        message = decode_ntndarray(structure)
        if message is not None:
            _check_totals(message, attributes)
    except FormatError as error:
        return Delivery(sender=sender, message=CorruptFrame(unique_id=unique_id, reason=str(error)))
    return Delivery(sender=sender, message=message)


def frame_totals(message: Message) -> NDArray[Any]:
    """Counts of each frame over all its pixels: shape (n,), int64, or float64 of images of floats."""
    if isinstance(message, Frame):
        kind = np.int64 if message.data.dtype.kind in "iu" else np.float64
        return np.atleast_1d(message.data.sum(axis=(-2, -1), dtype=kind))
    running = np.concatenate([[0], np.cumsum(message.words & _COUNT_MASK, dtype=np.int64)])
    totals: NDArray[np.int64] = np.diff(running[message.offsets])
    return totals


_SENDER = [field.name for field in fields(Sender)]


def _packed(message: EventFrame, attributes: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    first = (
        int(message.words[0] >> np.uint64(FRAME_SHIFT)) - _leading_empty(message) if message.words.size else 0
    )
    attributes |= {
        "FirstFrame": first,
        "NumFrames": message.count,
        "SensorX": message.shape[1],
        "SensorY": message.shape[0],
    }
    return {"ulongValue": message.words}, [message.words.size]


def _leading_empty(message: EventFrame) -> int:
    return int(np.argmax(message.offsets[1:] > 0))


def _dense(message: Frame) -> tuple[dict[str, Any], list[int]]:
    kind = message.data.dtype
    name = f"{_LETTERS[kind.kind]}{_SIZES[kind.kind][kind.itemsize]}Value"
    return {name: message.data.ravel()}, list(message.data.shape[::-1])


_LETTERS = {"u": "u", "i": "", "f": ""}
_INTEGERS = {1: "byte", 2: "short", 4: "int", 8: "long"}
_SIZES = {"u": _INTEGERS, "i": _INTEGERS, "f": {4: "float", 8: "double"}}


def _check_totals(message: Message, attributes: Mapping[str, Any]) -> None:
    totals, told = frame_totals(message), attributes.get("Totals")
    floats = totals.dtype.kind == "f"  # of which some may be NaN
    if (
        not isinstance(told, np.ndarray)
        or told.dtype != totals.dtype
        or not np.array_equal(totals, told, equal_nan=floats)
    ):
        raise FormatError(f"message {message.unique_id}: its counts are not those that its consumer told")
