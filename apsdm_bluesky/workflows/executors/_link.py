"""Keeps a warden running, and carries lines to and from it."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, cast

from ._warden._messages import Settings

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("_warden")
_LOG = "warden.log"
# Between two starts, at the least.
_PAUSE_S = 1.0
_CHUNK = 4096


class Link:
    """A warden, and another whenever one ended that should not have.

    Parameters
    ----------
    settings
        Of the warden.
    environment
        Of the warden, and so of every task.
    hear
        Gets every message, on a thread of this object: ``ready`` of each warden first, and ``gone``, with a
        reason, after its last, when none of its keepers is left either.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], hear: Callable[[dict[str, Any]], None]
    ) -> None:
        self._folder = Path(settings.folder)
        fields = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
        self._command = [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(fields)]
        self._environment = environment
        self._hear = hear
        self._orders: SimpleQueue[bytes | None] = SimpleQueue()
        self._closing = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="warden", daemon=True)

    def open(self) -> None:
        """Start it; returns at once."""
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Have the warden that was ready last get a message, if it lives."""
        self._orders.put(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """End the warden and all that it runs; return when they have ended."""
        self._closing.set()
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                self._live()
            except Exception as error:  # noqa: BLE001 - without this thread, tasks would wait for ever
                self._tell(error)
            self._closing.wait(max(0.0, begun + _PAUSE_S - time.monotonic()))

    def _live(self) -> None:
        """Run one warden to its end, and tell how that came."""
        reason = "the warden could not be kept; the agent's log says why"
        try:
            reason = self._one()
        except OSError as error:
            reason = f"the warden cannot be started: {error.strerror}"
        finally:
            if not self._closing.is_set():
                log.warning("%s: %s", self._folder, reason)
                self._hear({"gone": reason})

    def _tell(self, error: Exception) -> None:
        """Log a defect, once while it comes again."""
        if repr(error) != self._told:
            self._told = repr(error)
            log.error("%s: the warden could not be kept; another one starts", self._folder, exc_info=error)

    def _one(self) -> str:
        """Run one warden to its end; how that came."""
        self._orders = SimpleQueue()
        if self._closing.is_set():
            self._orders.put(None)
        with (self._folder / _LOG).open("ab") as errors, self._process(errors) as process:
            stdin = cast("IO[bytes]", process.stdin)
            writer = threading.Thread(target=_write, args=(stdin, self._orders), daemon=True)
            writer.start()
            try:
                self._listen(process)
            finally:
                self._orders.put(None)
                writer.join()
        return f"the warden ended ({process.returncode}); see {_LOG} there"

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Hear all that a warden and its keepers say; nobody is left of them when it returns."""
        stdout = cast("IO[bytes]", process.stdout)
        try:
            for line in stdout:
                self._hear(json.loads(line))
        except BaseException:
            process.kill()
            while stdout.read(_CHUNK):  # the keepers end with it
                pass
            raise

    def _process(self, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for this process alone
            env=dict(self._environment),
        )


def _write(stdin: IO[bytes], orders: "SimpleQueue[bytes | None]") -> None:
    """Write orders until there are no more, or nobody reads them."""
    try:
        for line in iter(orders.get, None):
            stdin.write(line)
            stdin.flush()
        stdin.close()
    except BrokenPipeError:
        log.debug("a warden ended before it had read all orders; the next one gets them again")
