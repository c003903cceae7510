"""What a process prints: read as it grows, and shown so that it steers nothing."""

import codecs
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.errors import StorageError

_CHUNK = 2**16  # bytes: of whatever size the file is, no more is in memory
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
        try:
            descriptor = os.open(self._path, _OPEN)
        except FileNotFoundError:  # the process has not begun
            return
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}; it is not shown") from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StorageError(f"{self._path}: is no plain file; it is not shown")
            if self.at < 0:
                self.at = max(0, found.st_size + self.at)
            end = found.st_size if most is None else min(found.st_size, self.at + most)
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
