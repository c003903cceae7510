"""The server as a child process: its configuration is the first line of standard input, as JSON."""

import logging
import os
import signal
import sys
import threading

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError

from ._serve import Mount, serve


def serve_as_child(mount: Mount | None = None) -> int:
    """Serve until told to stop; returns the exit code.

    With ``--until-eof`` it ends when standard input closes, that is, with the process that started it. An error
    that a user can act on is the last line on standard error.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = BeamlineConfig.model_validate_json(sys.stdin.readline())
    if "--until-eof" in sys.argv[1:]:
        threading.Thread(target=_end_at_eof, name="stdin", daemon=True).start()
    try:
        serve(config, mount)
    except ApsdmError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _end_at_eof() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
