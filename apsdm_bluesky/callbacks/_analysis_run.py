"""Compose the documents of an analysis run: a run of its own, linked to the raw run by its uid."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from event_model import compose_run

Emit = Callable[[str, dict[str, Any]], None]


class AnalysisRun:
    """Emits start, descriptors, events and stop. A stream is described by its first event.

    Parameters
    ----------
    emit
        Takes each document, for instance a `CatalogWriter`.
    metadata
        For the start document; ``raw_uid`` makes it an analysis run.
    """

    def __init__(self, emit: Emit, metadata: Mapping[str, Any]) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._bundle = compose_run(metadata=dict(metadata), validate=False)
        self._streams: dict[str, Any] = {}
        self.uid: str = self._bundle.start_doc["uid"]
        self.closed = False
        emit("start", self._bundle.start_doc)

    def event(self, stream: str, data: Mapping[str, Any], units: Mapping[str, str] | None = None) -> None:
        """Emit one event; `units` are told at the stream's first."""
        with self._lock:
            if stream not in self._streams:
                self._streams[stream] = self._describe(stream, data, units or {})
            now = time.time()
            document = self._streams[stream].compose_event(
                data=dict(data), timestamps=dict.fromkeys(data, now), validate=False
            )
            self._emit("event", document)

    def close(self, exit_status: str, reason: str = "") -> None:
        """Emit the stop document. Idempotent."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._emit("stop", self._bundle.compose_stop(exit_status=exit_status, reason=reason))

    def _describe(self, stream: str, data: Mapping[str, Any], units: Mapping[str, str]) -> Any:
        keys = {
            key: {**_data_key(value), **({"units": units[key]} if key in units else {})}
            for key, value in data.items()
        }
        bundle = self._bundle.compose_descriptor(name=stream, data_keys=keys, validate=False)
        self._emit("descriptor", bundle.descriptor_doc)
        return bundle


def _data_key(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"source": "apsdm_bluesky", "dtype": "string", "shape": []}
    array = np.asarray(value)
    if array.ndim:
        kind = "array"
    elif array.dtype.kind == "b":
        kind = "boolean"
    else:
        kind = "integer" if array.dtype.kind in "iu" else "number"
    return {
        "source": "apsdm_bluesky",
        "dtype": kind,
        "dtype_numpy": array.dtype.str,
        "shape": list(array.shape),
    }
