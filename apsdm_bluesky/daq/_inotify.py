"""Changes in a folder and all folders in it, as the kernel tells them (inotify(7))."""

import errno
import os
import select
from collections.abc import Callable
from contextlib import suppress

from inotify_simple import Event, INotify, flags

from ._scan import folders
from ._source import Folder, Source
from ._wants import Wants
from ._watch import Bell, WholeLooks, milliseconds

_SELF = flags.DELETE_SELF | flags.MOVE_SELF
# MODIFY is not asked for: a file that grows would have its folder looked at a thousand times.
_MASK = (
    flags.ATTRIB
    | flags.CLOSE_WRITE
    | flags.CREATE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | _SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)
# Folders that cannot be watched now: who looks through them tells why, or they are gone.
_NOT_NOW = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES})
_GATHER_S = 0.05


class InotifyWatcher:
    """A `Watcher` by inotify; where the kernel lets it watch no more, it polls, and says so.

    Parameters
    ----------
    source, poll_s, told, wants
        As in `open_watcher`.
    """

    def __init__(
        self, source: Source, poll_s: float, told: Callable[[str], None], wants: Wants | None = None
    ) -> None:
        self._source = source
        self._told = told
        self._looks = WholeLooks(poll_s)
        self._bell = Bell()
        self._poller = select.poll()
        self._poller.register(self._bell.fd, select.POLLIN)
        self._watches: _Watches | None = None
        try:
            self._watches = _Watches(source, wants or Wants(hidden=True))
            self._poller.register(self._watches.fd, select.POLLIN)
        except OSError as error:
            self._give_up(error)

    @property
    def polls(self) -> bool:
        """Whether it has fallen back to polling."""
        return self._watches is None

    def wait(self, timeout: float) -> set[str] | None:
        """See `Watcher.wait`. What happens within 50 ms is told together."""
        left = self._looks.left()
        if left and self._poller.poll(milliseconds(min(timeout, left))) and not self._bell.hush():
            self._bell.wait(_GATHER_S)
        self._bell.hush()
        changed = self._changed()
        if changed is not None and self._looks.left():
            return changed
        self._looks.begin()
        return None

    def wake(self) -> None:
        """See `Watcher.wake`."""
        self._bell.ring()

    def close(self) -> None:
        """See `Watcher.close`."""
        self._bell.close()
        if self._watches is not None:
            self._watches.close()
            self._watches = None

    def _changed(self) -> set[str] | None:
        if self._watches is None:
            return set()
        try:
            return self._watches.read()
        except OSError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: OSError) -> None:
        # What was watched is given back: it counts against all programs of this user.
        if self._watches is not None:
            self._poller.unregister(self._watches.fd)
            self._watches.close()
            self._watches = None
        self._told(
            f"{self._source.path}: cannot be watched by inotify ({_reason(error)}); "
            f"it is looked through every {self._looks.poll_s:g} s instead"
        )


class _Watches:
    """Which folders are watched, and what their events mean."""

    def __init__(self, source: Source, wants: Wants) -> None:
        self._source = source
        self._wants = wants
        self._notify = INotify()
        self.fd: int = self._notify.fileno()
        self._names: dict[int, set[str]] = {}
        self._numbers: dict[str, int] = {}
        self._changed: set[str] = set()
        self._everywhere = False
        try:
            self._add("")
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self._notify.close()

    def read(self) -> set[str] | None:
        """Folders with changes since it was last read; None: some may be lost, or the watched one is gone."""
        self._changed, self._everywhere = set(), False
        for event in self._notify.read(timeout=0):
            self._take(event)
        if not self._everywhere:
            return self._changed
        self._renew()
        return None

    def _take(self, event: Event) -> None:
        if event.mask & (flags.Q_OVERFLOW | flags.UNMOUNT):
            self._everywhere = True
        if event.mask & flags.IGNORED:
            for name in self._names.pop(event.wd, ()):
                self._numbers.pop(name, None)
            return
        for name in tuple(self._names.get(event.wd, ())):
            self._take_in(name, event)

    def _take_in(self, folder: str, event: Event) -> None:
        if event.mask & _SELF:
            self._everywhere |= not folder
            return
        # The folder itself, too: it may hold a folder now that cannot be entered, which is told.
        self._changed.add(folder)
        if event.name and event.mask & flags.ISDIR:
            self._take_folder(f"{folder}/{event.name}" if folder else event.name, event.mask)

    def _take_folder(self, name: str, mask: int) -> None:
        if mask & flags.MOVED_FROM:
            self._forget(name)
        elif mask & (flags.CREATE | flags.MOVED_TO | flags.ATTRIB):
            self._add(name)

    def _renew(self) -> None:
        """Watch what is there now: folders may have come, gone and been renamed that nobody told of."""
        before = set(self._names)
        self._names, self._numbers = {}, {}
        self._add("")
        for number in before - set(self._names):
            self._release(number)

    def _add(self, name: str) -> None:
        """Watch a folder and those in it; all that were not watched before have changed."""
        for each, folder in folders(self._source, self._wants, name):
            try:
                self._watch(each, folder)
            except OSError as error:
                if error.errno not in _NOT_NOW:
                    raise

    def _watch(self, name: str, folder: Folder) -> None:
        # By its descriptor: a path may lead elsewhere by now. Watched before it is listed: nothing is missed.
        number = self._notify.add_watch(f"/proc/self/fd/{folder.fd}", _MASK)
        if self._numbers.get(name) == number:
            return
        self._detach(name)
        self._numbers[name] = number
        self._names.setdefault(number, set()).add(name)
        self._changed.add(name)

    def _forget(self, name: str) -> None:
        below = f"{name}/"
        for each in [each for each in self._numbers if each == name or each.startswith(below)]:
            self._detach(each)

    def _detach(self, name: str) -> None:
        number = self._numbers.pop(name, None)
        if number is None:
            return
        names = self._names.get(number, set())
        names.discard(name)
        if not names:
            self._names.pop(number, None)
            self._release(number)

    def _release(self, number: int) -> None:
        with suppress(OSError):  # the folder is gone, and its watch with it
            self._notify.rm_watch(number)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no more watches: raise fs.inotify.max_user_watches"
    if error.errno == errno.EMFILE:
        return "no more instances: raise fs.inotify.max_user_instances"
    return error.strerror or os.strerror(error.errno or 0)
