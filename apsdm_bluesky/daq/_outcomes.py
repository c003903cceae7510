"""What becomes of files when they were copied, or were not. Nothing here does I/O."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ._changes import ended_as, ino_of
from ._copy import Copied, IncompleteError, NotTakenError, Order, StoppedError
from ._daq import FileState
from ._pool import Outcome
from ._source import OddFileError
from ._target import TargetError
from ._work import Change, Known, Last

_PASSING = frozenset(
    {errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE}
)


@dataclass(slots=True)
class Settled:
    """What is to be kept.

    Parameters
    ----------
    again
        Names that wait again.
    disturbed
        Those of them that were changed, shortened or moved while they were read, and what happened.
    blocked
        Names that wait for the experiment's folder to be mended.
    hindered
        What is wrong with it; '' where nothing is.
    incomplete
        Names whose content is not whole yet, and why not.
    """

    changes: list[Change] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    disturbed: list[tuple[str, str]] = field(default_factory=list)
    incomplete: list[tuple[str, str]] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    hindered: str = ""


def settle(
    outcomes: Sequence[Outcome],
    known: Mapping[str, Known],
    held: Callable[[Order, Copied], Last | None],
) -> Settled:
    """What becomes of each file.

    Parameters
    ----------
    held
        What the database knows of a file that lies where this one was put, and holds the same.
    """
    settled = Settled()
    for outcome in outcomes:
        name, result = outcome.order.seen.name, outcome.answer
        if isinstance(result, Copied):
            _taken(settled, outcome.order, result, held(outcome.order, result))
        else:
            _not_taken(settled, name, result, known[name])
    return settled


def _taken(settled: Settled, order: Order, result: Copied, held: Last | None) -> None:
    name, last = order.seen.name, order.last
    touched = held is not None and last is not None and last.own and last.path == result.path
    if result.remark:
        settled.notices.append((name, result.remark))
    if result.version > 1 and not result.was_there:
        settled.notices.append(
            (name, f"is version {result.version}: it was changed, or another file lies there")
        )
    settled.changes.append(
        Change(
            name=name,
            state=FileState.STORED if held is None else FileState.CATALOGUED,
            size=result.size,
            mtime_ns=result.mtime_ns,
            ino=ino_of(order.seen),
            version=result.version,
            path=result.path,
            sha256=result.sha256,
            run=None if held is None else held.run,
            reason="" if held is None else "was there already",
            touched=touched,
        )
    )


def _not_taken(settled: Settled, name: str, error: Exception, known: Known) -> None:
    if isinstance(error, TargetError):
        settled.hindered = f"{error}; it goes on by itself when that is mended"
        settled.blocked.append(name)
    elif isinstance(error, NotTakenError):
        settled.disturbed.append((name, f"{error}; it is taken when it does not change any more"))
        settled.again.append(name)
    elif isinstance(error, IncompleteError):
        settled.incomplete.append((name, str(error)))
    elif isinstance(error, StoppedError) or is_stale(error):
        settled.again.append(name)
    else:
        settled.changes.append(_ended(name, error, known))


def is_stale(error: Exception) -> bool:
    """Whether a fault is not the file's: a file server that does not answer, or has lost what was open."""
    return isinstance(error, OSError) and error.errno in _PASSING


def _ended(name: str, error: Exception, known: Known) -> Change:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        state, reason = FileState.VANISHED, "it was gone before it was taken"
    elif isinstance(error, OddFileError):
        state, reason = FileState.SKIPPED, error.reason
    else:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        state, reason = FileState.FAILED, f"cannot be taken: {told}"
    return ended_as(name, known, state, reason)
