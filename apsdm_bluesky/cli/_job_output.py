"""What a process prints: read as it grows, and shown so that it cannot steer a terminal."""

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.errors import StorageError

from ._archive import plain

_CHUNK = 2**16  # bytes: of whatever size the file is, no more is in memory
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_PLAIN = re.compile(r"[^\n\t -~]")


class OutputFile:
    """A file that may grow, and how far it was read.

    Parameters
    ----------
    title
        Names it for a person.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.title = title
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._path = path
        self._at = 0

    def news(self) -> Iterator[bytes]:
        """What was added since it was read, up to the end that it has now.

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
            file.seek(self._at)
            while self._at < found.st_size and (data := file.read(min(_CHUNK, found.st_size - self._at))):
                self._at += len(data)
                yield data


class Printer:
    """Prints what files hold; a line tells which one, where it is another one than before."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._last: OutputFile | None = None
        self._line_ended = True

    @property
    def used(self) -> bool:
        """Whether anything was printed."""
        return self._last is not None

    def show(self, file: OutputFile) -> None:
        """Print what is new of a file."""
        for data in file.news():
            self._announce(file)
            self._write(shown(file.decoder.decode(data)).encode() if self._terminal else data)
        sys.stdout.buffer.flush()

    def _announce(self, file: OutputFile) -> None:
        """A pipe that gets one file gets it as it is."""
        if file is not self._last and (self._last is not None or self._terminal):
            start = b"" if self._line_ended else b"\n"
            self._write(start + f"==> {plain(file.title)} <==\n".encode())
        self._last = file

    def _write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        self._line_ended = data.endswith(b"\n") if data else self._line_ended


def shown(text: str) -> str:
    """A text whose characters cannot steer a terminal: `^[` for an escape."""
    return _NOT_PLAIN.sub(lambda found: _visible(found[0]), text)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"^{chr(code ^ 64)}" if code < 128 else character.encode("unicode_escape").decode()
