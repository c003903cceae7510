"""One task from its start to the end of all that it started, in a process of its own."""

import json
import os
import select
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import _tree
from ._child import become
from ._messages import Order, Settings, tell
from ._records import claim, conclude

STOP, GONE = signal.SIGUSR1, signal.SIGHUP
# SIGTERM and SIGINT are for whole groups of processes: the task hears them itself.
HEARD = (STOP, GONE, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

_TICK_S, _KILL_S, _FULL_S = 0.2, 0.01, 1.0
# By the kernel itself, or told by a shell whose child it was.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


class GoneError(Exception):
    """The warden is gone or ends: nothing of the task may go on, and nothing is recorded."""


class Keeper:
    """Runs one task; `run` returns when it ended and that is recorded and told.

    The signals `HEARD` are blocked. STOP asks for the task's end, GONE for the end of everything at once.
    """

    def __init__(self, order: Order, settings: Settings) -> None:
        self._order = order
        self._settings = settings
        self._pid: int | None = None
        self._facts: dict[str, Any] = {
            "status": None,
            "started": None,
            "pid": None,
            "host": os.uname().nodename,
        }
        self._kills = _tree.out_of_memory_kills()
        self._cpu_s = 0.0
        self._memory = 0
        self._kill_at: float | None = None
        self._end_at = float("inf")

    def run(self, warden: int) -> None:
        """Start the task unless it was started before, and see to its end."""
        _tree.adopt_orphans()
        if not _tree.follow_parent(warden, GONE):
            return
        try:
            if self._persist(lambda: claim(self._order.path)):
                self._start()
                self._watch()
                self._bury()
                self._persist(lambda: conclude(self._order.path, self._facts))
            tell(task=self._order.id, over=True)
        except GoneError:
            self._kill()

    def _start(self) -> None:
        if self._order.stopped or "cut" in self._facts:
            self._facts |= {"cut": "stopped", "ended": time.time()}
            return
        keeper, now = os.getpid(), time.time()
        if self._order.timeout_s is not None:
            self._end_at = time.monotonic() + self._order.timeout_s
        report, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            become(self._order, self._settings.mark, keeper, write)
        os.close(write)
        refused = self._refused(report)
        if refused:
            self._facts |= {**json.loads(refused), "ended": now}
            return
        self._pid = pid
        self._facts |= {"started": now, "pid": pid}
        tell(task=self._order.id, started=now, pid=pid)

    def _refused(self, report: int) -> bytes:
        """What the fork says instead of becoming the task; a folder that does not answer holds it up."""
        while not select.select([report], [], [], _TICK_S)[0]:
            tell(task=self._order.id, obstacle="its working folder or its program has not answered yet")
            self._hear(0.0)
            self._check_time()
            if "cut" in self._facts:  # until it is the task, it hears nothing else
                _tree.send(_tree.children(os.getpid()), signal.SIGKILL)
        with open(report, "rb") as file:  # it said all at once, or ended
            return file.read()

    def _watch(self) -> None:
        """Return when the task's own process has ended."""
        while self._pid is not None:
            self._hear(min(_TICK_S, max(0.0, self._end_at - time.monotonic())))
            self._reap()
            if self._pid is not None:
                self._check()

    def _bury(self) -> None:
        """Return when nothing is left of what it started."""
        pause = _KILL_S
        while self._reap():
            if self._kill_at is None or time.monotonic() >= self._kill_at:
                _tree.send(_tree.descendants(os.getpid()), signal.SIGKILL)
            self._hear(pause)
            pause = min(2 * pause, _TICK_S)
        if self._facts.get("cut") == "output":
            for path in self._outputs():
                os.truncate(path, self._settings.output_bytes)
        if self._facts["started"] is not None:
            self._facts |= {"cpu_s": self._cpu_s, "memory": self._memory}
        if self._facts["status"] in _KILLED and _tree.out_of_memory_kills() > self._kills:
            self._facts.setdefault("cut", "oom")

    def _kill(self) -> None:
        while self._reap():
            _tree.send(_tree.descendants(os.getpid()), signal.SIGKILL)
            signal.sigtimedwait(HEARD, _KILL_S)

    def _hear(self, timeout: float) -> None:
        heard = signal.sigtimedwait(HEARD, timeout)
        if heard is None:
            return
        if heard.si_signo == GONE:
            raise GoneError
        if heard.si_signo == STOP:
            self._cut("stopped", None, self._settings.grace_s)

    def _reap(self) -> bool:
        """Take note of what has ended; whether anything is left."""
        with suppress(ChildProcessError):
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                self._cpu_s += used.ru_utime + used.ru_stime
                self._memory = max(self._memory, used.ru_maxrss * 1024)
                if pid == self._pid:
                    self._pid = None
                    self._facts |= {"status": os.waitstatus_to_exitcode(status), "ended": time.time()}
        return False

    def _check(self) -> None:
        """Hold the task to its limits."""
        below, limit = _tree.descendants(os.getpid()), self._settings.memory_bytes
        held, written = _tree.memory(below, limit), sum(self._outputs().values())
        self._memory = max(self._memory, held)
        self._check_time()
        if limit is not None and held > limit:
            self._cut("memory", limit, 0.0)
        if written > self._settings.output_bytes:
            self._cut("output", self._settings.output_bytes, 0.0)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            _tree.send(below, signal.SIGKILL)

    def _check_time(self) -> None:
        if time.monotonic() >= self._end_at:
            self._cut("timeout", self._order.timeout_s, self._settings.grace_s)

    def _cut(self, cut: str, limit: float | None, grace_s: float) -> None:
        """Have all of it end, for the first of what may be several causes."""
        if "cut" in self._facts or "ended" in self._facts:
            return
        self._facts |= {"cut": cut, "limit": limit}
        self._end_at = float("inf")
        self._kill_at = time.monotonic() + grace_s
        _tree.send(_tree.descendants(os.getpid()), signal.SIGTERM if grace_s else signal.SIGKILL)

    def _outputs(self) -> dict[Path, int]:
        """The sizes of what it prints to [bytes], as far as nobody removed or replaced it."""
        found = {}
        for path in (self._order.path / name for name in ("stdout", "stderr")):
            with suppress(FileNotFoundError):
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode):
                    found[path] = facts.st_size
        return found

    def _persist(self, write: Callable[[], Any]) -> Any:
        """Write a record; where the disk is full, say so and try again until it is not."""
        while True:
            try:
                return write()
            except FileNotFoundError:  # the folder was removed: nobody wants to know any more
                return None
            except OSError as error:
                reason = f"{self._order.folder}: {error.strerror}; free space or give write permission there"
                tell(task=self._order.id, obstacle=reason[:500])
                self._hear(_FULL_S)
