"""What runs at the remote: this file alone, as ``python -c``, with the standard library of Python >= 3.9.

Reads a request as JSON from stdin, and answers in one line of JSON on stdout. Whatever is asked twice has one
effect: who makes the file ``lock`` in the task's folder has the right to run its command, once, and nobody
takes it over. How the task ended stands in ``ended.json``, and nothing of it changes afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

POLL_S, LONGEST_POLL_S = 0.05, 1.0
BEAT_S = 10.0
LAST_BEAT = [0.0]
STALE_S = 120.0
UNKNOWN = {
    **dict.fromkeys(("status", "started", "pid", "cpu_s", "memory", "cut", "limit")),
    "lost": False,
    "said": "",
}
ENDED, LOCK, CANCEL = "ended.json", "lock", "cancel"


def main() -> dict[str, Any]:
    """Do what the request says, and return the answer.

    ``run`` runs the command, ``stop`` ends it or keeps it from running, ``settle`` only keeps it from running
    where it does not run yet. All of them tell of a task whose process is gone that it is lost.
    """
    request = json.load(sys.stdin)
    if request["version"] != 1:
        raise ValueError("this function is of another version of apsdm-bluesky; remove 'function' and retry")
    home = pathlib.Path(request["home"])
    home.mkdir(parents=True, exist_ok=True)
    if request["action"] == "stop":
        write(home / CANCEL, b"")
    if not (home / ENDED).exists():
        if take(home / LOCK):
            if request["action"] == "run":
                work_on(home, request)
            else:  # from now on nobody can run it
                tell_end(home, request, cut="stopped")
        elif not is_alive(home / LOCK):
            judge_lost(home, request)
    return {"ended": (home / ENDED).exists()}


def work_on(home: pathlib.Path, request: dict[str, Any]) -> None:
    """Run the command unless somebody stopped it before, and write how it ended."""
    if (home / CANCEL).exists():
        tell_end(home, request, cut="stopped")
        return
    work = pathlib.Path(request["working_folder"] or home / "work")
    if not request["working_folder"]:
        work.mkdir(exist_ok=True)
    watch = Watch(home, request)
    environment = {**os.environ, **request["environment"]}
    with (home / "stdout").open("wb") as out, (home / "stderr").open("wb") as err:
        try:
            process = subprocess.Popen(
                request["command"],
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            tell_end(home, request, cut=obstacle(work, request), said=getattr(error, "strerror", str(error)))
            return
        tell_end(home, request, started=watch.started, pid=process.pid, **watch.until_end(process))


def obstacle(work: pathlib.Path, request: dict[str, Any]) -> str:
    """What kept a command from starting."""
    if not os.access(work, os.X_OK) or not work.is_dir():
        return "folder"
    program = request["command"][0]
    is_script = "\0" not in program and shutil.which(program, path=request["environment"].get("PATH"))
    return "interpreter" if is_script and "\0" not in "".join(request["command"]) else "program"


class Watch:
    """Follows a process and all that it starts, to their end."""

    def __init__(self, home: pathlib.Path, request: dict[str, Any]) -> None:
        self.home, self.started, self.memory = home, time.time(), 0
        self.why: dict[str, Any] | None = None  # it is to end, and why
        self.timeout_s, self.grace_s = request["timeout_s"], request["grace_s"]
        self.deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        adopt_orphans()
        signal.signal(signal.SIGTERM, self.on_signal)

    def on_signal(self, *_: object) -> None:
        """The endpoint's worker ends."""
        self.why = self.why or {"lost": True, "said": "the endpoint's worker ended before it"}

    def until_end(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """How it ended, when nothing of it is left."""
        pause = POLL_S
        while process.poll() is None and self.why is None:
            time.sleep(pause)
            self.look()
            pause = min(1.1 * pause, LONGEST_POLL_S)
        self.end_all(process)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "status": process.returncode,
            "cpu_s": used.ru_utime + used.ru_stime,
            "memory": self.memory or None,
            **(self.why or {}),
        }

    def look(self) -> None:
        """Whether it is to end, and what it holds."""
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.why = {"cut": "timeout", "limit": self.timeout_s}
        elif (self.home / CANCEL).exists():
            self.why = {"cut": "stopped"}
        self.memory = max(self.memory, sum(map(resident, descendants())))
        beat(self.home)

    def end_all(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM to what is left of it, SIGKILL later; returns when nothing is."""
        deadline = time.monotonic() + self.grace_s
        left = descendants()
        send(sorted(left, key=lambda pid: pid != process.pid), signal.SIGTERM)  # it, before its children
        while left:
            time.sleep(POLL_S)
            process.poll()
            reap(process.pid)
            left = descendants()
            beat(self.home)
            if time.monotonic() >= deadline:
                send(left, signal.SIGKILL)
        process.wait()


def send(pids: Iterable[int], number: int) -> None:
    """Signal processes; those that are gone do not mind."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def reap(command: int) -> None:
    """Take notice of adopted children that ended; the command is left to its `Popen`."""
    for pid, (parent, state) in processes().items():
        if parent == os.getpid() and state == "Z" and pid != command:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants() -> set[int]:
    """Numbers of living processes below this one."""
    table, new = processes(), {os.getpid()}
    found: set[int] = set()
    while new:
        new = {pid for pid, (parent, _) in table.items() if parent in new} - found
        found |= new
    return {pid for pid in found if table[pid][1] != "Z"}


def processes() -> dict[int, tuple[int, str]]:
    """Parent and state of each process of this machine."""
    table = {}
    for entry in pathlib.Path("/proc").iterdir():
        fields = stat_of(entry.name) if entry.name.isdigit() else None
        if fields:
            table[int(entry.name)] = (int(fields[1]), fields[0])
    return table


def stat_of(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None where there is no such process."""
    try:
        text = pathlib.Path("/proc", str(pid), "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def resident(pid: int) -> int:
    """Memory of a process [bytes]."""
    fields = stat_of(pid)
    return int(fields[21]) * os.sysconf("SC_PAGESIZE") if fields else 0


def adopt_orphans() -> None:
    """What loses its parent becomes a child of this process, which gets SIGTERM when its own parent ends."""
    library = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    for option, value in ((36, 1), (1, int(signal.SIGTERM))):  # PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG
        if library.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl failed; the remote must be a Linux machine")
    if os.getppid() != parent:
        raise OSError("the endpoint's worker has ended")


def me() -> dict[str, Any]:
    """Which process this is, also for other machines that share the folder."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    place = f"{boot} {pathlib.Path('/proc/self/ns/pid').readlink()}"
    born = (stat_of("self") or [])[19]
    who = {"host": socket.gethostname(), "place": place, "pid": os.getpid(), "born": born}
    return {**who, "time": time.time()}


def beat(home: pathlib.Path) -> None:
    """Show other machines that the lock's holder is alive."""
    if time.monotonic() - LAST_BEAT[0] >= BEAT_S:
        os.utime(home / LOCK)
        LAST_BEAT[0] = time.monotonic()


def take(lock: pathlib.Path) -> bool:
    """Whether this process got the lock; one that exists belongs to another."""
    part = lock.with_name(f"{lock.name}.{os.getpid()}.{time.time_ns()}")
    write(part, json.dumps(me()).encode())
    try:
        os.link(part, lock)  # with its content, or not at all
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def is_alive(lock: pathlib.Path) -> bool:
    """Whether the holder of the lock works on. Elsewhere it is alive as long as it touches the lock."""
    holder, here = json.loads(lock.read_text()), me()
    if holder["place"] == here["place"]:
        fields = stat_of(holder["pid"])
        return fields is not None and fields[0] != "Z" and fields[19] == holder["born"]
    probe = lock.with_name(f"probe.{os.getpid()}.{time.time_ns()}")
    write(probe, b"")  # the clock of the file system, not of this machine
    age = probe.stat().st_mtime - lock.stat().st_mtime
    probe.unlink()
    return age < STALE_S


def judge_lost(home: pathlib.Path, request: dict[str, Any]) -> None:
    """The holder is gone; it may have told how it ended at the last moment."""
    if not (home / ENDED).exists():
        tell_end(
            home, request, lost=True, said="its process ended without a word, with its machine or batch job"
        )


def tell_end(home: pathlib.Path, request: dict[str, Any], **how: Any) -> None:
    """Write how the task ended, with its files; the first word stands."""
    holder = json.loads((home / LOCK).read_text())
    document = {**UNKNOWN, "host": holder["host"], **how, "ended": time.time()}
    for name in ("stdout", "stderr"):
        (home / name).touch()
    part = home / f"{ENDED}.{os.getpid()}.{time.time_ns()}"
    write(
        part,
        json.dumps({**document, "files": list(files_of(home)) if request["lists_files"] else []}).encode(),
    )
    with contextlib.suppress(FileExistsError):
        os.link(part, home / ENDED)
    part.unlink()


def files_of(home: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Output and plain files of the task, with size [bytes] and sha256; no hidden files, no links."""
    yield from (described(home, home / name) for name in ("stdout", "stderr"))
    for folder, folders, names in os.walk(home / "work"):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield described(home, path)


def described(home: pathlib.Path, path: pathlib.Path) -> dict[str, Any]:
    """Name, size and hash of a file, which is on the disk then."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
            beat(home)
    return {"name": path.relative_to(home).as_posix(), "size": size, "sha256": digest.hexdigest()}


def write(path: pathlib.Path, content: bytes) -> None:
    """Write a small file and bring it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
