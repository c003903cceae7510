"""Keeps a warden running, and carries lines to and from it."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, cast

from ._warden._messages import Settings

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("_warden")
_LOG = "warden.log"
_PAUSE_S = 1.0


class Link:
    """A warden, and another whenever one ended that should not have.

    Parameters
    ----------
    settings
        Of the warden.
    hear
        Gets every message, on a thread of this object: ``ready`` of each warden first, and ``gone``, with a
        reason, after its last, when none of its keepers is left either.
    """

    def __init__(self, settings: Settings, hear: Callable[[dict[str, Any]], None]) -> None:
        self._folder = Path(settings.folder)
        fields = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
        self._command = [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(fields)]
        self._hear = hear
        self._orders: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warden", daemon=True)

    def open(self) -> None:
        """Start it; returns at once."""
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Have the warden that was ready last get a message, if it lives."""
        self._orders.put(message)

    def close(self) -> None:
        """End the warden and all that it runs; return when they have ended."""
        self._closing.set()
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                reason, ready = self._one()
            except OSError as error:
                reason, ready = f"the warden cannot be started: {error.strerror}", False
            if self._closing.is_set():
                return
            log.warning("%s: %s", self._folder, reason)
            self._hear({"gone": reason})
            if not ready:
                self._closing.wait(_PAUSE_S)

    def _one(self) -> tuple[str, bool]:
        """Run one warden to its end; how that came, and whether it was ever ready."""
        self._orders, ready = SimpleQueue(), False
        if self._closing.is_set():
            self._orders.put(None)
        with (self._folder / _LOG).open("ab") as errors, self._process(errors) as process:
            stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
            writer = threading.Thread(target=_write, args=(stdin, self._orders), daemon=True)
            writer.start()
            for line in stdout:
                message = json.loads(line)
                ready = ready or "ready" in message
                self._hear(message)
            self._orders.put(None)
            writer.join()
        return f"the warden ended ({process.returncode}); see {_LOG} there", ready

    def _process(self, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for this process alone
        )


def _write(stdin: IO[bytes], orders: "SimpleQueue[dict[str, Any] | None]") -> None:
    """Write orders until there are no more, or nobody reads them."""
    try:
        for message in iter(orders.get, None):
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        stdin.close()
    except BrokenPipeError:
        log.debug("a warden ended before it had read all orders; the next one gets them again")
