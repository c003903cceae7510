"""Documents as lines of strict JSON, numpy values included, without loss.

A value that JSON lacks becomes an object with one reserved key: ``{"$ndarray": [dtype, shape, base64]}``,
``{"$scalar": ...}`` (the same, for a numpy scalar Python has no type for), ``{"$float": "nan"}``,
``{"$bytes": base64}``. A mapping that has a reserved key of its own, or keys that are no strings, becomes
``{"$dict": [[key, value], ...]}``.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from apsdm_bluesky.errors import FormatError

_RESERVED = frozenset({"$ndarray", "$scalar", "$float", "$bytes", "$dict"})


def encode_line(name: str, doc: Mapping[str, Any]) -> bytes:
    """One document as one line, newline included.

    Raises
    ------
    FormatError
        A value cannot be stored: object arrays, masked arrays, types that are neither JSON nor numpy.
    """
    return json.dumps([name, _encode(doc, name)], allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """The document of one line.

    Raises
    ------
    FormatError
        The line is not what `encode_line` writes.
    """
    try:
        parsed = json.loads(line)
        name, doc = parsed
        decoded = _decode(doc)
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"no document: {error}") from error
    if not isinstance(name, str) or not isinstance(decoded, dict):
        raise FormatError("no document: a name and a mapping are expected")
    return name, decoded


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, Mapping):
        return _encode_mapping(value, where)
    if isinstance(value, list | tuple):
        return [_encode(item, f"{where}.{index}") for index, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        return {"$ndarray": _encode_array(value, where)}
    if isinstance(value, np.generic):
        return _encode_scalar(value, where)
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise FormatError(
        f"{where}: a {type(value).__name__} cannot be stored in a document; use JSON or numpy types"
    )


def _encode_mapping(value: Mapping[Any, Any], where: str) -> dict[str, Any]:
    if all(isinstance(key, str) for key in value) and _RESERVED.isdisjoint(value):
        return {key: _encode(item, f"{where}.{key}") for key, item in value.items()}
    if not all(isinstance(key, str | int | float | bool | None) for key in value):
        raise FormatError(f"{where}: the keys of a mapping must be strings or numbers")
    return {"$dict": [[_encode(key, where), _encode(item, f"{where}.{key}")] for key, item in value.items()]}


def _encode_array(value: np.ndarray[Any, Any], where: str) -> list[Any]:
    if value.dtype.hasobject:
        raise FormatError(
            f"{where}: an array of Python objects cannot be stored; give it a numeric or string dtype"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise FormatError(f"{where}: a masked array cannot be stored; store its data and mask")
    try:
        descr = np.lib.format.dtype_to_descr(value.dtype)
    except ValueError as error:
        raise FormatError(f"{where}: an array of dtype {value.dtype} cannot be stored ({error})") from error
    return [descr, value.shape, base64.b64encode(value.tobytes()).decode()]


def _encode_scalar(value: np.generic, where: str) -> Any:
    """As the Python value where that is equal, else as an array of no dimensions."""
    plain = value.item()
    if value.dtype.kind not in "mM" and isinstance(plain, bool | int | float | str | bytes):
        return _encode(plain, where)
    return {"$scalar": _encode_array(np.asarray(value), where)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        key, item = next(iter(value.items()))
        if key in _RESERVED:
            return _DECODERS[key](item)
    return {key: _decode(item) for key, item in value.items()}


def _decode_array(item: Any) -> np.ndarray[Any, Any]:
    descr, shape, data = item
    dtype = np.lib.format.descr_to_dtype(_as_descr(descr))
    return np.frombuffer(bytearray(base64.b64decode(data, validate=True)), dtype).reshape(shape)


def _as_descr(descr: Any) -> Any:
    """JSON made lists of the tuples that numpy wants in a structured dtype's description."""
    if isinstance(descr, str):
        return descr
    return [
        (tuple(name) if isinstance(name, list) else name, _as_descr(kind), *map(tuple, shape))
        for name, kind, *shape in descr
    ]


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$ndarray": _decode_array,
    "$scalar": lambda item: _decode_array(item)[()],
    "$float": float,
    "$bytes": lambda item: base64.b64decode(item, validate=True),
    "$dict": lambda pairs: {_decode(key): _decode(item) for key, item in pairs},
}
