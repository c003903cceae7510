"""Arguments as DM's clients send them: base64, twice, and mostly in the text of Python bytes, `b'...'`."""

import base64
import binascii
import json
import re
from typing import Any, NoReturn

from fastapi import HTTPException

_LARGEST = 64 << 10  # characters: as long as an address may be
_BYTES = re.compile(r"""b(['"])(.*)\1""", re.DOTALL)
_BLANK = re.compile(
    r"\s|\\n"
)  # encoders that break lines; in the text of bytes these are a backslash and an n


def text_of(argument: str, name: str) -> str:
    """The text that an argument holds; '' where it is empty.

    Parameters
    ----------
    name
        Of the argument, for a message.

    Raises
    ------
    HTTPException
        400: it is not encoded so, or holds no text. 413: it is too large.
    """
    if len(argument) > _LARGEST:
        raise HTTPException(413, f"{name}: more than {_LARGEST >> 10} KiB; send less")
    quoted = _BYTES.fullmatch(argument.strip())
    once = _decoded(quoted[2] if quoted else argument, name)
    try:
        text = _decoded(once.decode("ascii"), name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"{name}: is no text, encoded in base64 twice") from error
    if "\0" in text:
        raise HTTPException(400, f"{name}: holds a zero byte; leave it out")
    return text


def data_of(argument: str, name: str) -> Any:
    """The value that an argument holds, as JSON.

    Raises
    ------
    HTTPException
        400: it is no JSON, or holds what can be no value here; otherwise as `text_of`.
    """
    try:
        data = json.loads(text_of(argument, name), parse_constant=_refuse, parse_float=_finite)
        _check_texts(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(
            400, f"{name}: is no JSON, or holds what cannot be kept; see its syntax"
        ) from error
    return data


def mapping_of(argument: str | None, name: str) -> dict[str, Any]:
    """The same, of what must be a mapping; an empty one where nothing is given."""
    data = data_of(argument, name) if argument else {}
    if not isinstance(data, dict):
        raise HTTPException(400, f"{name}: give a mapping, as {{}}")
    return data


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(_BLANK.sub("", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, f"{name}: is not encoded in base64 twice") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def _check_texts(data: Any) -> None:
    """No text that cannot be encoded (half a surrogate pair) or that a database refuses (a zero byte)."""
    if isinstance(data, str):
        if "\0" in data:
            raise ValueError("a zero byte")
        data.encode("utf-8")
    elif isinstance(data, dict):
        for key, value in data.items():
            _check_texts(key)
            _check_texts(value)
    elif isinstance(data, list):
        for value in data:
            _check_texts(value)
