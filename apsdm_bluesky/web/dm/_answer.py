"""Answers in the protocol's shape."""

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.responses import Response


class Answer(Response):
    """A value as JSON, in ASCII: whatever a name or a process's output holds, it can be sent."""

    media_type = "application/json"

    def __init__(
        self, content: Any = None, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(plain(content), allow_nan=False, separators=(",", ":")).encode("ascii")


def refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error. Clients look for `errorCode`; it is that of HTTP, which says the same."""
    return Answer({"errorCode": status, "errorMessage": message}, status, headers)


def plain(value: Any) -> Any:
    """A value that JSON has: sequences are lists, what is infinite or of another type is its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return str(value)


def moment(seconds: float) -> str:
    """A time [s since the Unix epoch] as DM writes it in records: ISO, with a blank, in the server's zone."""
    return str(datetime.fromtimestamp(seconds).astimezone())


def timestamp(seconds: float) -> str:
    """The same as DM writes it for people."""
    return time.strftime("%Y/%m/%d %H:%M:%S %Z", time.localtime(seconds))
