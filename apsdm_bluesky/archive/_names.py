"""Names and texts that come from outside, before they become paths or are printed."""

import re

# What moves a terminal's cursor or hides text: C0, C1, line separators, direction marks, lone surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 200


def printable(text: object, longest: int = _LONGEST) -> str:
    """The text with control characters escaped, cut to `longest` characters."""
    plain = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(text)[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."


def is_text(text: str) -> bool:
    """Whether the text has no control characters and can be encoded."""
    return _CONTROLS.search(text) is None


def is_plain_path(path: str, *, hidden: bool = False) -> bool:
    """Whether `path` is a relative POSIX path without '.', '..', empty parts and control characters.

    Parameters
    ----------
    hidden
        Parts may begin with a dot.
    """
    parts = path.split("/")
    if not all(parts) or not is_text(path) or any(part in (".", "..") for part in parts):
        return False
    return hidden or not any(part.startswith(".") for part in parts)
