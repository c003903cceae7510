"""Writes recordings; their format stands with the reader."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import StorageError

from ._recording import DESCRIPTION_KEY, END_KEY, VERSION, RecordedMessage, recording_schema

__all__ = ["RecordingWriter"]


class RecordingWriter:
    """Writes a recording. Each message is handed to the system at once: a killed process leaves it readable.

    Parameters
    ----------
    path
        A new file.
    description
        What the stream is, as JSON can hold it.

    Raises
    ------
    StorageError
        The file cannot be written: no permission, no space.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self._path = path
        self._schema = recording_schema().with_metadata(
            {DESCRIPTION_KEY: json.dumps({"version": VERSION, **description})}
        )
        nothing = RecordedMessage(arrival_ns=0, head={}, member="", payload=None)
        self._empty = self._batch(nothing).slice(0, 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
            self._file = pa.OSFile(str(path), "wb")  # unbuffered
            self._writer = pa.ipc.new_stream(self._file, self._schema)
            self._writer.write_batch(self._empty)  # the schema is written with the first batch
        except OSError as error:
            raise self._failure(error) from error

    def write(self, message: RecordedMessage) -> None:
        """Append a message; its payload is not copied."""
        try:
            self._writer.write_batch(self._batch(message))
        except OSError as error:
            raise self._failure(error) from error

    def close(self, end: Mapping[str, Any]) -> None:
        """Tell how it ended, and make sure that it is on the disk."""
        try:
            self._writer.write_batch(self._empty, custom_metadata={END_KEY: json.dumps(end)})
            self._writer.close()
            self._file.close()
            sync(self._path)
        except OSError as error:
            raise self._failure(error) from error

    def abandon(self) -> None:
        """Leave the file as a failed write left it: nothing may follow half a message."""
        with suppress(OSError):
            self._file.close()

    def _batch(self, message: RecordedMessage) -> Any:
        # From buffers: pa.array() would import pandas, for seconds, in the first acquisition of a process.
        payload = b"" if message.payload is None else np.ascontiguousarray(message.payload)
        columns = [
            pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(np.array([message.arrival_ns]))]),
            _column(pa.utf8(), json.dumps(message.head).encode(), np.int32),
            _column(pa.utf8(), message.member.encode(), np.int32),
            _column(pa.large_binary(), payload, np.int64),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"the recording {self._path} cannot be written: {error.strerror or error}")


def _column(kind: Any, value: Any, offsets: type[np.signedinteger[Any]]) -> Any:
    """An array of one value, not copied."""
    buffer = pa.py_buffer(value)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(np.array([0, buffer.size], offsets)), buffer])
