"""Names and texts that come from outside, before they become paths or are printed."""

from apsdm_bluesky.texts import is_text, printable

__all__ = ["is_plain_path", "is_text", "printable"]


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
