"""Pieces of an open file, within its size and within bounds."""

import os

_MOST_BYTES = 16 << 20
_MOST_READS = 200_000


class ShortError(Exception):
    """A file ends before what it says it holds."""


class SpentError(Exception):
    """A file has so many headers that reading them all would take too long."""


class ContentReader:
    """Reads pieces of a file by their place.

    Parameters
    ----------
    fd
        Open for reading; it stays open.
    size
        Of the file [bytes].
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        self._bytes = _MOST_BYTES
        self._reads = _MOST_READS

    def at(self, place: int, count: int) -> bytes:
        """So many bytes at a place.

        Raises
        ------
        ShortError
            The file does not reach so far.
        SpentError
            Too much has been read already.
        """
        self.reach(place + count)
        self._bytes -= count
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0:
            raise SpentError
        piece = os.pread(self._fd, count, place)
        if len(piece) < count:
            raise ShortError("it was cut while it was looked at")
        return piece

    def reach(self, end: int) -> None:
        """Refuse with a `ShortError` an end that lies behind the file's."""
        if end > self.size:
            raise ShortError(f"it has {self.size} bytes, and its headers speak of {end}")
