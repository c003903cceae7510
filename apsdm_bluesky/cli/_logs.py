"""Where log records go: into the state folder's `logs/apsdm.log`. The terminal is for the person."""

import logging
import sys
import threading
from pathlib import Path
from typing import Any

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import StorageError

logger = logging.getLogger(__name__)

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def quiet() -> None:
    """Nothing that a library logs, warns or fails to clean up is written to the terminal."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a full disk: the log is not what is to be told
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def log_to_file(folders: StateFolders) -> None:
    """Keep the log of this process in the state folder.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    path = folders.logs / "apsdm.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{folders.root}: the state folder cannot be written ({error.strerror}); "
            "choose another one with --home or APSDM_HOME"
        ) from error
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    logging.getLogger("apsdm_bluesky").setLevel(logging.INFO)


def log_to_terminal(level: int) -> None:
    """For commands that stay: this package's records, a line each, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("apsdm: %(message)s"))
    handler.setLevel(level)
    handler.addFilter(lambda record: not record.name.startswith("apsdm_bluesky.cli"))  # told already
    package = logging.getLogger("apsdm_bluesky")
    package.addHandler(handler)
    package.setLevel(logging.INFO)


def log_file() -> Path | None:
    """The file this process logs to; None when there is none."""
    files = (h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler))
    return next((Path(name) for name in files), None)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message without a traceback."""
        return " ".join(super().format(_without_trace(record)).split())


def _without_trace(record: logging.LogRecord) -> logging.LogRecord:
    plain = logging.makeLogRecord(record.__dict__)
    plain.exc_info = plain.exc_text = plain.stack_info = None
    return plain


def _log_unraisable(unraisable: Any) -> None:
    logger.warning("ignored in %r", unraisable.object, exc_info=unraisable.exc_value)


def _log_thread(args: threading.ExceptHookArgs) -> None:
    logger.error("thread %s failed", args.thread and args.thread.name, exc_info=args.exc_value)
