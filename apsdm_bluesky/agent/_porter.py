"""The process that copies files for DAQs: started when there is one, and again whenever it ends."""

import contextlib
import logging
import subprocess
import sys
import time
from pathlib import Path

from apsdm_bluesky.daq import Settings
from apsdm_bluesky.errors import ServiceError

log = logging.getLogger(__name__)

_PAUSE_S = (0.2, 10.0)  # before it is started again, doubled each time that it ends soon


class Porter:
    """Keeps one such process. It ends with this one, however this one ends.

    Parameters
    ----------
    log_file
        What it has to say goes there.
    """

    def __init__(self, settings: Settings, log_file: Path) -> None:
        self._order = settings.encode()
        self._log_file = log_file
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._pause = _PAUSE_S[0]
        self._not_before = 0.0

    def look(self, *, needed: bool) -> None:
        """Start it where it is needed and does not run.

        Raises
        ------
        ServiceError
            It cannot be started now.
        """
        if self._process is not None and (status := self._process.poll()) is not None:
            self._ended(status)
        if needed and self._process is None and time.monotonic() >= self._not_before:
            self._start()

    def stop(self) -> None:
        """End it: it may be left at any point, and sees that its input has ended."""
        if self._process is not None:
            self._close_pipe(self._process)
            self._process.wait()
            self._process = None

    def _ended(self, status: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._close_pipe(process)
        shortest, longest = _PAUSE_S
        now = time.monotonic()
        self._pause = shortest if now - self._began > longest else min(2 * self._pause, longest)
        self._not_before = now + self._pause
        log.warning(
            "the process that copies files ended (%s) and is started again; see %s", status, self._log_file
        )

    def _start(self) -> None:
        self._began = time.monotonic()
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            with self._log_file.open("a") as told:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "apsdm_bluesky.daq"],
                    stdin=subprocess.PIPE,
                    stdout=told,
                    stderr=told,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the agent
                )
            if self._process.stdin is not None:
                self._process.stdin.write(self._order)
                self._process.stdin.flush()
        except OSError as error:  # also a broken pipe: it has ended already, which the next look sees
            raise ServiceError(f"the process that copies files cannot be started: {error}") from error

    @staticmethod
    def _close_pipe(process: "subprocess.Popen[str]") -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was not told yet, it needs no more
                process.stdin.close()
