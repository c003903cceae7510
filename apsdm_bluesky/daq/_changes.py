"""What is known of a file before and after something became of it. Pure."""

from ._daq import FileState
from ._scan import Seen
from ._work import Change, Known, Last


def waits(seen: Seen, known: Known | None, other: Last | None) -> Change:
    """A file that was seen for the first time, or was changed since it was taken: it is to be taken.

    Parameters
    ----------
    other
        The last version that another DAQ has brought to its place.
    """
    last = known.last if known is not None else other
    version = max(1 if last is None else last.version + 1, 1 if known is None else known.version + 1)
    return Change(
        name=seen.name, state=FileState.WAITING, size=seen.size, mtime_ns=seen.mtime_ns, version=version
    )


def was_there(seen: Seen, last: Last) -> Change:
    """A file that another DAQ has taken."""
    return Change(
        name=seen.name,
        state=FileState.CATALOGUED,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        version=last.version,
        path=last.path,
        sha256=last.sha256,
        run=last.run,
        reason="was there already",
    )


def waits_again(seen: Seen, before: Known) -> Known:
    """One that was gone, or could not be taken."""
    return Known(FileState.WAITING, seen.size, seen.mtime_ns, before.version, before.last)


def ended_as(name: str, known: Known, state: FileState, reason: str) -> Change:
    """One that waited and is not taken."""
    return Change(
        name=name,
        state=state,
        size=known.size,
        mtime_ns=known.mtime_ns,
        version=known.version,
        reason=reason,
    )


def known_by(change: Change, last: Last | None) -> Known:
    """What is known of it then."""
    return Known(change.state, change.size, change.mtime_ns, change.version, last)


def last_by(change: Change) -> Last:
    """The version that it is, where it was taken."""
    return Last(
        change.version, change.path or "", change.size, change.mtime_ns, change.sha256, change.run, True
    )
