"""What a process prints: read as it grows, and shown so that it steers nothing."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.workflows._output_file import open_output

_CHUNK = 2**16  # bytes: of whatever size the file is, no more is in memory
_NOT_PLAIN = re.compile(r"[^\n\t -~]")


class OutputFile:
    """A file that may grow, and how far it was read.

    Parameters
    ----------
    title
        Names it for a person.
    at
        Where reading begins; negative: so many bytes before the end that it has now.

    Attributes
    ----------
    at
        How far it was read [bytes].
    """

    def __init__(self, path: Path, title: str, *, at: int = 0) -> None:
        self.title = title
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.at = at
        self._path = path

    def news(self, most: int | None = None) -> Iterator[bytes]:
        """What was added since it was read, up to the end that it has now, or `most` bytes.

        Raises
        ------
        StorageError
            It cannot be read, or is no plain file: a process may have put a link or a pipe in its place.
        """
        file = open_output(self._path)
        if file is None:  # the process has not begun
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if self.at < 0:
                self.at = max(0, size + self.at)
            end = size if most is None else min(size, self.at + most)
            file.seek(self.at)
            while self.at < end and (data := file.read(min(_CHUNK, end - self.at))):
                self.at += len(data)
                yield data


def shown(text: str) -> str:
    """A text whose characters cannot steer a terminal: `^[` for an escape."""
    return _NOT_PLAIN.sub(lambda found: _visible(found[0]), text)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"^{chr(code ^ 64)}" if code < 128 else character.encode("unicode_escape").decode()
