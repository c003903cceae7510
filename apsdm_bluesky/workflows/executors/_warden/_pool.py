"""The warden: takes orders, has so many keepers at once, and ends with all of them."""

import fcntl
import json
import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import _tree
from ._keeper import HEARD, STOP, Keeper
from ._messages import Order, Settings, tell

LOCK = "warden.lock"

_TICK_S, _LOCK_S, _SWEEP_S = 0.5, 0.02, 0.005


class Pool:
    """Runs the orders that come on stdin, until that ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: deque[Order] = deque()
        self._keepers: dict[int, tuple[str, int | None]] = {}
        self._slots = list(range(settings.parallel))[::-1]
        self._lost: list[str] = []
        self._rest = b""
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Return when stdin ended or the executor is gone; the keepers hear of that from the kernel."""
        open_ = True
        while open_ and os.getppid() == self._settings.parent:  # a fork of the executor may hold stdin open
            ready, _, _ = select.select([0, self._wake], [], [], _TICK_S)
            if self._wake in ready:
                os.read(self._wake, 4096)
            if 0 in ready:
                open_ = self._read()
            self._reap()
            self._kill_strays()
            self._launch()

    def _read(self) -> bool:
        """Take what orders have come; False at the end of them."""
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self._waiting.append(Order(**message["start"]))
            return
        _tree.send([pid for pid, (task, _) in self._keepers.items() if task == message["stop"]], STOP)
        for order in [order for order in self._waiting if order.id == message["stop"]]:
            self._waiting.remove(order)
            self._waiting.appendleft(replace(order, stopped=True))

    def _launch(self) -> None:
        while self._waiting and (self._slots or self._waiting[0].stopped):
            order = self._waiting.popleft()
            slot = None if order.stopped else self._slots.pop()
            try:
                self._fork(order if slot is None else replace(order, cpus=self._cpus(slot)), slot)
            except OSError as error:
                self._waiting.appendleft(order)
                self._slots += [] if slot is None else [slot]
                tell(task=order.id, obstacle=f"no process can be made: {error.strerror}; end others")
                return

    def _fork(self, order: Order, slot: int | None) -> None:
        warden = os.getpid()
        pid = os.fork()
        if pid == 0:
            _keep(order, self._settings, warden)
        self._keepers[pid] = (order.id, slot)

    def _cpus(self, slot: int) -> tuple[int, ...]:
        if self._settings.cpus is None:
            return ()
        there = sorted(os.sched_getaffinity(0))
        first = slot * self._settings.cpus
        return tuple({there[number % len(there)] for number in range(first, first + self._settings.cpus)})

    def _reap(self) -> None:
        """Take note of keepers that have ended."""
        with suppress(ChildProcessError):  # there is none
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] in self._keepers:
                    self._part(*found)

    def _part(self, pid: int, status: int) -> None:
        task, slot = self._keepers.pop(pid)
        if slot is not None:
            self._slots.append(slot)
        if status != 0:
            self._lost.append(task)

    def _kill_strays(self) -> None:
        """What a killed keeper leaves is a child of this process now; its task is over when none is left."""
        if not self._lost:
            return
        strays = set(_tree.children(os.getpid())) - set(self._keepers)
        for pid in strays:  # SIGCHLD tells when one has ended
            _tree.send([pid, *_tree.descendants(pid)], signal.SIGKILL)
        for task in self._lost:
            if strays:  # they have become another user's, or wait for a disk that does not answer
                tell(task=task, obstacle=f"process {min(strays)} that it left does not end yet")
            else:
                tell(task=task, over=True)
        if not strays:
            self._lost.clear()


def _keep(order: Order, settings: Settings, warden: int) -> None:
    """What the fork does that becomes a keeper."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        signal.set_wakeup_fd(-1)
        Keeper(order, settings).run(warden)
        code = 0
    except BaseException:  # noqa: BLE001 - a fork must never run its parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def _wanted(settings: Settings) -> bool:
    """Whether the executor is there and has not ended this process's orders."""
    orders = select.poll()
    orders.register(0, 0)  # only its end, not what stands in it
    return not orders.poll(0) and os.getppid() == settings.parent


def _own(settings: Settings) -> bool:
    """Wait for the lock, which a warden and its keepers hold while they live; False where nobody wants it.

    The descriptor stays open, and every keeper inherits it.
    """
    fd = os.open(Path(settings.folder) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while _wanted(settings):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_S)
        else:
            return True
    return False


def _clear(settings: Settings) -> bool:
    """Kill what an earlier warden left, until nothing of it goes on; False where nobody wants that."""
    pause = _SWEEP_S
    while left := _tree.sweep(settings.mark):
        if not _wanted(settings):
            return False
        if pause >= _TICK_S:  # it waits for a disk or a network that does not answer
            tell(obstacle=f"process {left[0]} of an earlier task does not end: mend what it waits for")
        time.sleep(pause)
        pause = min(2 * pause, _TICK_S)
    return True


def main(settings_json: str) -> None:
    """Run a warden on stdin and stdout."""
    settings = Settings(**json.loads(settings_json))
    # It ends with its executor, not with what a terminal or a service manager sends to all of a group.
    signal.pthread_sigmask(signal.SIG_BLOCK, set(HEARD) - {signal.SIGCHLD})
    _tree.adopt_orphans()
    if not (_own(settings) and _clear(settings)):
        sys.exit(0)
    tell(ready=True)
    Pool(settings).run()
