"""Values as short texts for people. Every room may use it; the command line and the pages do."""

import re
from datetime import UTC, datetime
from typing import Protocol

__all__ = [
    "is_text",
    "moment",
    "plain",
    "printable",
    "seconds_text",
    "shortened",
    "size_text",
    "time_text",
    "value_text",
]

# What moves a terminal's cursor or hides text: C0, C1, line separators, direction marks, lone surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 200
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_TIME_UNITS = (("d", 2 * 86400.0, 86400.0), ("h", 2 * 3600.0, 3600.0), ("min", 120.0, 60.0))


class Timed(Protocol):
    """What begins and ends, at times in seconds since the Unix epoch."""

    @property
    def started(self) -> float | None:
        """None where it has not begun."""

    @property
    def ended(self) -> float | None:
        """None where it has not ended."""


def plain(text: str) -> str:
    """A text from outside that cannot steer a terminal: one line of printable characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str, length: int) -> str:
    """At most so many characters of one line."""
    text = plain(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: object, longest: int = _LONGEST) -> str:
    """The text with control characters escaped, cut to `longest` characters."""
    plain = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(text)[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."


def is_text(text: str) -> bool:
    """Whether the text has no control characters and can be encoded."""
    return _CONTROLS.search(text) is None


def moment(seconds: float | None) -> str:
    """A time [s since the Unix epoch] for a person, UTC."""
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def time_text(seconds: float | None) -> str:
    """A time for a person, in few characters."""
    if seconds is None:
        return "-"
    for unit, least, length in _TIME_UNITS:
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"


def seconds_text(one: Timed) -> str:
    """How long something took; '-' where it has not begun or not ended."""
    return "-" if one.started is None or one.ended is None else time_text(one.ended - one.started)


def size_text(size: float | None) -> str:
    """Bytes for a person: 1.5 GB."""
    if size is None:
        return "-"
    unit = 0
    while size >= 1000 and unit < len(_SIZE_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_SIZE_UNITS[unit]}"


def value_text(value: str | float | bool | tuple[str | float | bool, ...]) -> str:
    """A variable's value for a person."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
