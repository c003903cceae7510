"""Answers in the protocol's shape."""

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.responses import Response

# The facility's own client goes by these; 0 is well.
_STATUS_CODES = {401: 6, 403: 5, 404: 14, 409: 15, 429: 19}
SESSION_IS_OVER = 12
_OTHER_ERROR = 1
_LONGEST_MESSAGE = 1_000


class Answer(Response):
    """A value as JSON, in ASCII: whatever a name or a process's output holds, it can be sent."""

    media_type = "application/json"

    def __init__(
        self, content: Any = None, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        ours = {"Cache-Control": "no-store", "Dm-Status-Code": "0"}
        super().__init__(content, status_code, ours | dict(headers or {}))

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(plain(content), allow_nan=False, separators=(",", ":")).encode("ascii")


def refused(
    status: int, message: str, headers: Mapping[str, str] | None = None, *, code: int | None = None
) -> Answer:
    """An error. `dmax` looks for `errorCode`, which is that of HTTP; the facility's own client at the header.

    Parameters
    ----------
    code
        DM's number of it; None: the one that fits the status.
    """
    number = _STATUS_CODES.get(status, _OTHER_ERROR) if code is None else code
    told = {"Dm-Status-Code": str(number), "Dm-Status-Message": _in_header(message)}
    return Answer({"errorCode": status, "errorMessage": message}, status, told | dict(headers or {}))


def _in_header(message: str) -> str:
    """One line of ASCII, whatever somebody's argument had in it."""
    line = message.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(one if one.isprintable() else " " for one in line)[:_LONGEST_MESSAGE].strip()


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
