"""Runs made by hand, as lists of documents."""

from typing import Any

import numpy as np
from event_model import compose_run

Documents = list[tuple[str, dict[str, Any]]]


def counting_run(events: int = 3, *, stop: bool = True, size: int = 4, **start: Any) -> Documents:
    """A run of one stream: the event's number, and an array of int16 that holds it."""
    run = compose_run(metadata=start)
    descriptor = run.compose_descriptor(
        name="primary",
        data_keys={
            "number": {"source": "test", "dtype": "integer", "shape": []},
            "image": {"source": "test", "dtype": "array", "shape": [size], "dtype_numpy": "<i2"},
        },
    )
    documents: Documents = [("start", run.start_doc), ("descriptor", descriptor.descriptor_doc)]
    for number in range(events):
        data = {"number": number, "image": np.full(size, number, "<i2")}
        event = descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, 1.5e9 + number))
        documents.append(("event", event))
    if stop:
        documents.append(("stop", run.compose_stop()))
    return [(name, dict(doc)) for name, doc in documents]


def uid_of(documents: Documents) -> str:
    return str(documents[0][1]["uid"])


def same(left: Any, right: Any) -> bool:
    """Equal to the bit: types, dtypes, NaN."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and left.tobytes() == right.tobytes()
        )
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and list(left) == list(right)
            and all(same(left[k], right[k]) for k in left)
        )
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and left != left:
        return isinstance(right, float) and right != right
    return bool(left == right)
