"""Recordings: the messages of a stream as they came, in an Arrow IPC stream (``.arrows``).

One record batch a message, in the order of arrival: ``arrival_ns`` (int64, monotonic clock), ``head`` (JSON:
every field of the structure but the pixels), ``member`` (the value union's member, empty where there is none)
and ``payload`` (its bytes, still compressed). The schema's metadata hold ``apsdm.recording``, JSON that
describes the stream. The last batch has no rows and tells in its metadata, ``apsdm.end``, JSON of how it
ended; a recording without it was cut off, and is whole up to its last whole message.

(Format: Apache Arrow columnar format 1.x, IPC streaming format.)
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError

__all__ = ["RECORDING_SUFFIX", "RecordedAcquisition", "RecordedMessage", "Recording"]

logger = logging.getLogger(__name__)

RECORDING_SUFFIX = ".arrows"
VERSION = 1
_MOST = 2**31 - 1  # of frames, and of pixels in one
DESCRIPTION_KEY, END_KEY = b"apsdm.recording", b"apsdm.end"
# The value union's members; payloads are little-endian.
_MEMBERS = {
    "booleanValue": np.dtype("?"),
    "ubyteValue": np.dtype("<u1"),
    "byteValue": np.dtype("<i1"),
    "ushortValue": np.dtype("<u2"),
    "shortValue": np.dtype("<i2"),
    "uintValue": np.dtype("<u4"),
    "intValue": np.dtype("<i4"),
    "ulongValue": np.dtype("<u8"),
    "longValue": np.dtype("<i8"),
    "floatValue": np.dtype("<f4"),
    "doubleValue": np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """One update of a channel.

    Parameters
    ----------
    arrival_ns
        When it came, on the recording machine's monotonic clock.
    head
        Every field but ``value``; what JSON has no word for is in the recorder's own.
    member
        The selected member of the value union; empty where there was none.
    payload
        Its array, shape (n,).
    """

    arrival_ns: int
    head: Mapping[str, Any]
    member: str
    payload: NDArray[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAcquisition:
    """What was known of the acquisition when it was recorded: as of `AcquisitionInfo`."""

    expected: int
    frame_shape: tuple[int, int]
    dtype: str
    period_s: float
    frames_per_message: int
    events: bool


class Recording:
    """A recording, read while it is asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        It cannot be read, or is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._stream() as reader:
            self.description = self._described(reader.schema)

    @property
    def acquisition(self) -> RecordedAcquisition:
        """What was acquired.

        Raises
        ------
        FormatError
            The recording does not tell, or nonsense.
        """
        told: Any = self.description.get("acquisition")
        try:
            found = RecordedAcquisition(**{**told, "frame_shape": tuple(told["frame_shape"])})
            (ny, nx), numbers = found.frame_shape, (found.expected, found.frames_per_message)
            if (
                all(type(number) is int and 0 < number <= _MOST for number in (ny, nx, *numbers))
                and ny * nx <= _MOST
                and 0 <= found.period_s < math.inf
                and isinstance(found.dtype, str)
                and np.dtype(found.dtype).kind in "biuf"
                and isinstance(found.events, bool)
            ):
                return found
        except (TypeError, KeyError, ValueError, SyntaxError) as error:
            raise FormatError(f"{self.path}: does not tell what was acquired ({error})") from error
        raise FormatError(f"{self.path}: tells no sensible acquisition: {told}")

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of a frame."""
        return self.acquisition.frame_shape

    @property
    def frames(self) -> int:
        """Frames that were asked for: missing ones count."""
        return self.acquisition.expected

    @property
    def events(self) -> bool:
        """Whether its messages are packed events, or images."""
        return self.acquisition.events

    @property
    def period_s(self) -> float | None:
        """Time between frames [s]."""
        return self.acquisition.period_s or None

    @property
    def base_id(self) -> int:
        """The source's message number just before the acquisition.

        Of a recording that was cut off, the one before its first message.
        """
        ledger = (self.end() or {}).get("ledger")
        told = ledger.get("base_id") if isinstance(ledger, dict) else None
        if isinstance(told, int):
            return told
        ids = (message.head.get("uniqueId") for message in self.messages() if message.payload is not None)
        first = next((number for number in ids if isinstance(number, int)), None)
        if first is None:
            raise FormatError(f"{self.path}: holds no message with a number; nothing can be played")
        return first - 1

    def messages(self) -> Iterator[RecordedMessage]:
        """Every whole message, in order.

        Raises
        ------
        FormatError
            What is written is not what a recorder writes.
        """
        for message, _ in self._batches():
            if message is not None:
                yield message

    def end(self) -> Mapping[str, Any] | None:
        """How it ended; None where it was cut off. Reads the file to its end."""
        ends = [end for _, end in self._batches() if end is not None]
        return ends[-1] if ends else None

    def _batches(self) -> Iterator[tuple[RecordedMessage | None, Mapping[str, Any] | None]]:
        count = 0
        with self._stream() as reader:
            while True:
                try:
                    batch, metadata = reader.read_next_batch_with_custom_metadata()
                    batch.validate(full=True)
                except (StopIteration, pa.ArrowException, OSError, MemoryError) as error:
                    logger.warning("%s: cut off or damaged behind message %d: %s", self.path, count, error)
                    return
                end = self._end(metadata)
                yield self._message(batch), end
                if end is not None:
                    return
                count += batch.num_rows

    def _message(self, batch: Any) -> RecordedMessage | None:
        if not batch.num_rows:
            return None
        arrival, head, member, payload = (column[0] for column in batch.columns)
        kind = _MEMBERS.get(member.as_py())
        if batch.num_rows != 1 or (member.as_py() and kind is None):
            raise FormatError(
                f"{self.path}: holds {member.as_py()!r}, {batch.num_rows} rows: no recorded message"
            )
        try:
            array = None if kind is None else np.frombuffer(payload.as_buffer(), kind)
            fields = json.loads(head.as_py())
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.path}: a message cannot be read ({error})") from error
        if not isinstance(fields, dict):
            raise FormatError(f"{self.path}: a message's head is no JSON object")
        return RecordedMessage(arrival_ns=arrival.as_py(), head=fields, member=member.as_py(), payload=array)

    def _end(self, metadata: Any) -> Mapping[str, Any] | None:
        return None if metadata is None or END_KEY not in metadata else self._object(metadata[END_KEY])

    def _stream(self) -> Any:
        try:
            return pa.ipc.open_stream(pa.memory_map(str(self.path)))
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise FormatError(
                f"{self.path}: is no recording ({reason}); give a whole {RECORDING_SUFFIX}"
            ) from error

    def _described(self, schema: Any) -> Mapping[str, Any]:
        text = (schema.metadata or {}).get(DESCRIPTION_KEY)
        if text is None or not schema.equals(recording_schema()):
            raise FormatError(f"{self.path}: is an Arrow stream of something else; give a recording")
        description = self._object(text)
        if description.get("version") != VERSION:
            raise FormatError(
                f"{self.path}: is of version {description.get('version')}, not {VERSION}; update apsdm"
            )
        return description

    def _object(self, text: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.path}: its description is damaged ({error})") from error
        if not isinstance(found, dict):
            raise FormatError(f"{self.path}: its description is no JSON object")
        return found


def recording_schema() -> Any:
    return pa.schema(
        [
            pa.field("arrival_ns", pa.int64(), nullable=False),
            pa.field("head", pa.utf8(), nullable=False),
            pa.field("member", pa.utf8(), nullable=False),
            pa.field("payload", pa.large_binary(), nullable=False),
        ]
    )
