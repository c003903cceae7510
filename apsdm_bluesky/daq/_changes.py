"""What is known of a file before and after something became of it. Pure."""

from ._daq import Daq, FileState
from ._scan import Seen
from ._work import Change, Known, Last, workflow_of


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
        name=seen.name,
        state=FileState.WAITING,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        ino=ino_of(seen),
        version=version,
    )


def ino_of(seen: Seen) -> int:
    """The file's number, as a database takes it."""
    return seen.ino % (1 << 63)


def covers(last: Last, daq: Daq) -> bool:
    """Whether nothing is left to do with a file that another DAQ has taken."""
    options = daq.options
    wanted = {
        what
        for what, skipped in (("catalogue", options.skip_catalogue), ("archive", options.skip_archive))
        if not skipped
    }
    workflow = workflow_of(daq.owner, options.workflow_owner, options.workflow, each=options.each)
    return last.left_out.isdisjoint(wanted) and workflow in ("", last.workflow)


def was_there(seen: Seen, last: Last, daq: Daq) -> Change:
    """A file that another DAQ has taken; it is handed on where that one has left out what is wanted."""
    done = covers(last, daq)
    return Change(
        name=seen.name,
        state=FileState.CATALOGUED if done else FileState.STORED,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        ino=ino_of(seen),
        version=last.version,
        path=last.path,
        sha256=last.sha256,
        run=last.run if done else None,
        reason="was there already",
    )


def waits_again(seen: Seen, before: Known) -> Known:
    """One that was gone, or could not be taken."""
    return Known(FileState.WAITING, seen.size, seen.mtime_ns, before.version, before.last, ino_of(seen))


def ended_as(name: str, known: Known, state: FileState, reason: str) -> Change:
    """One that waited and is not taken."""
    return Change(
        name=name,
        state=state,
        size=known.size,
        mtime_ns=known.mtime_ns,
        ino=known.ino,
        version=known.version,
        reason=reason,
    )


def known_by(change: Change, last: Last | None) -> Known:
    """What is known of it then."""
    return Known(change.state, change.size, change.mtime_ns, change.version, last, change.ino)


def last_by(change: Change) -> Last:
    """The version that it is, where it was taken."""
    return Last(
        version=change.version,
        path=change.path or "",
        size=change.size,
        mtime_ns=change.mtime_ns,
        sha256=change.sha256,
        run=change.run,
        own=True,
        ino=change.ino,
    )
