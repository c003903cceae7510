"""What a person sees of a fault: one line on stderr, and the exit code. The details are in the log."""

import logging
import os
import sys
from collections.abc import Sequence

import typer

from apsdm_bluesky.errors import ApsdmError

from ._logs import log_file, quiet

logger = logging.getLogger(__name__)

# All of wrong usage. The class has no public name, and its module differs between versions of typer.
_UsageError: type = typer.BadParameter.__base__ or typer.BadParameter


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Without `arguments`, with those of this process.

    0: done. 1: a fault. 2: wrong usage. 130: ended by Ctrl-C.
    """
    quiet()
    code = _run(app, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_gone()
    if code == _INTERRUPTED:
        _say("interrupted")
    return code


_INTERRUPTED = 130


def _run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    try:
        return int(app(arguments, prog_name="apsdm", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001 - the outermost frame: everything is told
        return _tell(error)


def _tell(error: Exception) -> int:
    if isinstance(error, _UsageError):
        return _tell_usage(error)
    if (known := actionable(error)) is not None:
        logger.info("ended by a fault", exc_info=error)
        _say(str(known))
        return 1
    logger.error("ended by a defect", exc_info=error)
    where = log_file()
    trace = (
        f"the traceback is in {where}"
        if where
        else "run it with a --home that can be written for a traceback"
    )
    _say(f"{type(error).__name__}: {error}; this is a defect of apsdm, please report it: {trace}")
    return 1


def _tell_usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "apsdm"
    message = error.format_message()  # type: ignore[attr-defined]
    if "\n" in message.strip():  # no command at all: the message is the help
        print(message)
    elif message.strip():
        _say(f"{message.rstrip('.')}; see '{command} --help'")
    return 2


def actionable(error: BaseException) -> ApsdmError | None:
    """The error a user can act on, be it the cause of one that only says that something failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApsdmError):
            return cause
        cause = cause.__cause__
    return None


def _say(message: str) -> None:
    print(f"apsdm: {' '.join(message.split())}", file=sys.stderr)


def _reader_gone() -> int:
    """Whoever read our output has left (`| head`): nothing more is written, now or at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
