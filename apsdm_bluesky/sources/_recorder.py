"""A recorder: what a PVA channel sends, to a file, word by word."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pvaccess

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.formats import RecordedMessage, RecordingWriter

__all__ = ["Recorder", "structure_of"]

logger = logging.getLogger(__name__)

QUEUE_BYTES = 128 * 2**20
_VARIANT = "pva:variant"


class Recorder:
    """Keeps every update of a channel with the time of its arrival; hand it to `PvaSource.record`.

    It is written by a thread of its own. Where the disk is slower than the channel, updates beyond
    `queue_bytes` are not recorded, and counted as `lost`; the stream itself never waits and never fails.

    Parameters
    ----------
    path
        A new file.
    description
        What the stream is, as JSON can hold it.
    queue_bytes
        Pixels that may wait for the disk.

    Raises
    ------
    StorageError
        The file cannot be written.
    """

    def __init__(self, path: Path, description: Mapping[str, Any], *, queue_bytes: int = QUEUE_BYTES) -> None:
        self.path = path
        self.recorded = self.lost = 0
        self.reason = ""
        self._writer = RecordingWriter(
            path, {"started": time.time(), "started_ns": time.monotonic_ns(), **description}
        )
        self._room = queue_bytes
        self._queue: deque[RecordedMessage] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def __call__(self, structure: Any) -> None:
        """Take an update, on the thread that received it. Never waits, never raises."""
        arrival_ns = time.monotonic_ns()
        try:
            message = _message(structure.toDict(), arrival_ns)
        except Exception as error:  # noqa: BLE001 - whatever a foreign server sends, the acquisition goes on
            self._lose(f"an update cannot be read: {error}")
            return
        size = 0 if message.payload is None else message.payload.nbytes
        with self._changed:
            if not self.reason and not self._closing and size <= self._room:
                self._room -= size
                self._queue.append(message)
                self._changed.notify()
                return
        self._lose(self.reason or "the disk is slower than the channel")

    def close(self, **end: Any) -> None:
        """Write what waits, and how it ended: `end`, `recorded`, `lost`. Idempotent."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._thread.join()
        try:
            if self.reason:
                self._writer.abandon()
            else:
                self._writer.close({**end, "recorded": self.recorded, "lost": self.lost})
        except StorageError as error:
            self.reason = str(error)
        if self.lost or self.reason:
            logger.error(
                "%s: %d updates recorded, %d lost: %s", self.path, self.recorded, self.lost, self.reason
            )

    def _lose(self, reason: str) -> None:
        with self._changed:
            self.lost += 1
            first = self.lost == 1
        if first:
            logger.warning("%s: %s; further updates that are lost are counted", self.path, reason)

    def _write_all(self) -> None:
        while (message := self._next()) is not None:
            try:
                if not self.reason:
                    self._writer.write(message)
                    self.recorded += 1
                    continue
            except StorageError as error:
                self.reason = str(error)
            self._lose(self.reason)

    def _next(self) -> RecordedMessage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            message = self._queue.popleft()
            self._room += 0 if message.payload is None else message.payload.nbytes
            return message


def structure_of(message: RecordedMessage) -> dict[str, Any]:
    """The recorded structure as `decode_ntndarray` reads it; types of variants by name."""
    value = {} if message.payload is None else {message.member: message.payload}
    return {**_with_tuples(message.head), "value": (value, {})}


def _message(fields: dict[str, Any], arrival_ns: int) -> RecordedMessage:
    value = fields.pop("value", ())
    selected = value[0] if isinstance(value, tuple) and value else {}
    member, payload = next(iter(selected.items()), ("", None))
    return RecordedMessage(
        arrival_ns=arrival_ns,
        head=_with_variants(fields),
        member=member,
        payload=None if payload is None else np.asarray(payload),
    )


def _with_variants(value: Any) -> Any:
    """As JSON can hold it: pvapy gives a union as a tuple, its value and its type."""
    if isinstance(value, dict):
        return {key: _with_variants(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_variants(inner) for inner in value]
    if isinstance(value, tuple):
        return {_VARIANT: [_with_variants(inner) for inner in value]}
    if isinstance(value, pvaccess.ScalarType):  # a kind of int
        return value.name
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {_VARIANT}:
        return tuple(_with_tuples(inner) for inner in value[_VARIANT])
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return [_with_tuples(inner) for inner in value] if isinstance(value, list) else value
