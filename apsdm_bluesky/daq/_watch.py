"""When to look at a folder again: because something changed in it, or because it is time to."""

import os
import select
import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Literal, Protocol

from ._mounts import file_system_of, is_shared
from ._source import Source
from ._wants import Wants


class Watcher(Protocol):
    """Tells where to look again. One thread waits; others may wake it."""

    def wait(self, timeout: float) -> set[str] | None:
        """Folders in which something changed, relative, '' for the watched one; None: look everywhere.

        None comes at first, and when `poll_s` have passed since the last whole look ended, which is when
        this is called again. An empty set: nothing happened, or it was woken.

        Parameters
        ----------
        timeout
            It waits at most so long [s].
        """

    def wake(self) -> None:
        """`wait` returns at once, or does so the next time; from any thread."""

    def close(self) -> None:
        """What is open is closed; nobody may be waiting."""


class Bell:
    """A file descriptor that can be polled, and rung from any thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._open = True
        self._poller = select.poll()
        self._poller.register(self.fd, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Return when it is rung, or after so long [s]."""
        self._poller.poll(milliseconds(seconds))

    def ring(self) -> None:
        """Whoever polls it is woken."""
        with self._lock:
            if self._open:
                os.eventfd_write(self.fd, 1)

    def hush(self) -> bool:
        """Whether it was rung since it was last asked."""
        try:
            return os.eventfd_read(self.fd) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        """It may still be rung; nobody hears it."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.fd)


class WholeLooks:
    """When everything is to be looked at: at first, and `poll_s` after the last such look ended."""

    def __init__(self, poll_s: float) -> None:
        self.poll_s = poll_s
        self._due: float | None = time.monotonic()

    def left(self) -> float:
        """Until it is due [s]; 0 when it is."""
        if self._due is None:
            # The one who looked comes back: a look that takes longer than `poll_s` must not follow itself.
            self._due = time.monotonic() + self.poll_s
        return max(0.0, self._due - time.monotonic())

    def begin(self) -> None:
        """Everything is looked at now."""
        self._due = None


class PollWatcher:
    """Tells nothing but that it is time to look; see `Watcher`.

    Parameters
    ----------
    poll_s
        Between two looks [s].
    """

    def __init__(self, poll_s: float) -> None:
        self._looks = WholeLooks(poll_s)
        self._bell = Bell()

    def wait(self, timeout: float) -> set[str] | None:
        """See `Watcher.wait`."""
        left = self._looks.left()
        if left:
            self._bell.wait(min(timeout, left))
        self._bell.hush()
        if self._looks.left():
            return set()
        self._looks.begin()
        return None

    def wake(self) -> None:
        """See `Watcher.wake`."""
        self._bell.ring()

    def close(self) -> None:
        """See `Watcher.close`."""
        self._bell.close()


def milliseconds(seconds: float) -> int:
    """As `poll` takes them: rounded up, or a rest of a millisecond would be waited for in a busy loop."""
    return ceil(max(0.0, seconds) * 1000)


def open_watcher(
    source: Source,
    how: Literal["auto", "inotify", "poll"],
    poll_s: float,
    told: Callable[[str], None],
    wants: Wants | None = None,
) -> Watcher:
    """A watcher of a folder, as its file system allows.

    Parameters
    ----------
    how
        auto: inotify, but polling where other machines write, whose changes inotify does not tell.
    poll_s
        The whole folder is looked at so often, also with inotify [s].
    told
        Gets one line, once, when inotify cannot be used as asked, and the folder is polled.
    wants
        Folders that are not wanted are not watched; None: all are.
    """
    from ._inotify import InotifyWatcher  # light as long as nothing is watched

    if source.single is not None or how == "poll" or (how == "auto" and on_shared(source)):
        return PollWatcher(poll_s)
    return InotifyWatcher(source, poll_s, told, wants)


def on_shared(source: Source) -> bool:
    """Whether other machines may write in a folder, by its file system."""
    kind = file_system_of(source.root.fd)
    return kind is not None and is_shared(kind)
