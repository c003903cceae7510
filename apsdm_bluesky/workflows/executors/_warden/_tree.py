"""The processes below a process, as /proc shows them: who they are, what they hold, and how to end them."""

import ctypes
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Have what is orphaned below this process become its child. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def follow_parent(parent: int, number: signal.Signals) -> bool:
    """Have the kernel send this process a signal when its parent ends; False where it has. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def children(pid: int) -> list[int]:
    """The processes that have `pid` as their parent."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_bytes().split())
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents before their children."""
    found = children(pid)
    for one in found:  # grows meanwhile
        found += children(one)
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send them a signal."""
    for pid in pids:
        # Gone, or become another user's (sudo): nobody but that user can end it.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def marked(mark: str) -> Iterator[int]:
    """Our user's processes whose environment holds `mark`."""
    wanted = b"\0" + mark.encode() + b"\0"
    for entry in os.scandir(_PROC):
        # Ended meanwhile, or not ours to read.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if not entry.name.isdigit() or entry.stat().st_uid != os.getuid():
                continue
            if wanted in b"\0" + (_PROC / entry.name / "environ").read_bytes():
                yield int(entry.name)


def sweep(mark: str) -> list[int]:
    """Kill our user's processes whose environment holds `mark`; those that were left."""
    left = list(marked(mark))
    send(left, signal.SIGKILL)
    return left


def memory(pids: list[int], limit: int | None) -> int:
    """What the processes hold in memory [bytes].

    Beyond `limit` pages that several share count once, as they should; that is a slow question.
    """
    held = sum(map(_resident, pids))
    return held if limit is None or held <= limit else sum(map(_proportional, pids))


def out_of_memory_kills() -> int:
    """How often the kernel killed a process of this machine for want of memory; 0 where it does not count."""
    for line in (_PROC / "vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _proportional(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return _resident(pid)
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
