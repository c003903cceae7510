"""The ends of output files."""

from pathlib import Path


def tail(path: Path, size: int) -> bytes:
    """The last bytes of a file, so many at most; none where it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read(size)
    except FileNotFoundError:
        return b""


def tail_text(path: Path, size: int) -> str:
    """The same as text; bytes that are no UTF-8 become U+FFFD."""
    return tail(path, size).decode(errors="replace")
