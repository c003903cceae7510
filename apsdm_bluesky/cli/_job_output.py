"""Prints what processes wrote, so that it cannot steer a terminal."""

import sys

from apsdm_bluesky.texts import plain
from apsdm_bluesky.workflows.jobs import OutputFile, shown


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
