"""Data types of arrays, so that they come back from the catalogue equal to the bit.

A descriptor may leave out `dtype_numpy`; Tiled's writer then stores every array as float64. The first event
knows better.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Document = tuple[str, dict[str, Any]]


class DtypeCompleter:
    """Holds a descriptor that lacks an array's dtype back until its first event, which completes it."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> Iterator[Document]:
        """The documents that can go on now, in an order that keeps references valid."""
        if name == "descriptor" and any(_lacks_dtype(key) for key in doc["data_keys"].values()):
            self._held[doc["uid"]] = doc
            return
        if name == "stop":
            yield from (("descriptor", self._held.pop(uid)) for uid in list(self._held))
        elif (descriptor := self._held.pop(doc.get("descriptor", ""), None)) is not None:
            yield "descriptor", _completed(descriptor, name, doc)
        yield name, doc


def _lacks_dtype(key: dict[str, Any]) -> bool:
    if key.get("dtype") != "array" or "external" in key:
        return False
    return not any(key.get(name) for name in ("dtype_numpy", "dtype_str", "dtype_descr"))


def _completed(descriptor: dict[str, Any], name: str, doc: dict[str, Any]) -> dict[str, Any]:
    for key, description in descriptor["data_keys"].items():
        value = doc.get("data", {}).get(key)
        if name == "event_page" and value is not None and len(value):
            value = value[0]
        if _lacks_dtype(description) and isinstance(value, np.ndarray) and value.dtype.names is None:
            description["dtype_numpy"] = value.dtype.str
    return descriptor
