"""Long work that ends with the process, and what hinders a step, as an event: the same for all drivers."""

import hashlib
import logging
from collections.abc import Callable
from typing import BinaryIO

from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError

from ._events import Blocked, Event, Waiting
from ._machine import TransitionError

log = logging.getLogger(__name__)

_CHUNK = 4 * 2**20


class StoppedError(Exception):
    """The process is to end; the instruction is done again by the next one."""


def counted(should_stop: Callable[[], bool], advance: Callable[[int], None]) -> Callable[[int], None]:
    """Tells of each piece of work, and ends it where the process is to end."""

    def progress(count: int) -> None:
        if should_stop():
            raise StoppedError
        advance(count)

    return progress


def sha256_of(file: BinaryIO, progress: Callable[[int], None]) -> str:
    """Of what is left of a file, hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        progress(len(chunk))
    return digest.hexdigest()


def waiting(told: str, reason: str) -> Waiting | None:
    """An event only where it tells something new; `told` is what is known already."""
    return None if told == reason else Waiting(reason=reason)


def observed(
    take: Callable[[], Event | None], name: str, on_refusal: Callable[[str], Event | None]
) -> Event | None:
    """What a step brought, or what hindered it.

    Parameters
    ----------
    name
        Of what it was done for, for the log.
    on_refusal
        What it means that a service does not answer, or refuses for now.

    Raises
    ------
    StoppedError
        The process is to end.
    TransitionError
        Somebody changed meanwhile what the step was for.
    """
    try:
        return take()
    except (StoppedError, TransitionError):
        raise
    except ServiceError as error:
        return on_refusal(str(error))
    except StorageError as error:
        return Blocked(reason=str(error), needs_person=False)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}; free space or give access there"
        return Blocked(reason=reason, needs_person=False)
    except ApsdmError as error:
        return Blocked(reason=str(error), needs_person=True)
    except Exception as error:  # a defect that one of them brings out must not stop the others
        log.exception("%s", name)
        return Blocked(reason=f"a defect: {error!r}; see the agent's log, then resume", needs_person=True)
