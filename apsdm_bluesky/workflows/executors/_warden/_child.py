"""The last steps between a fork and the task's program."""

import errno
import json
import os
import resource
import signal
from pathlib import Path
from typing import NoReturn

from ._messages import Order
from ._tree import follow_parent

_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
# The kernel's killer takes the task before the agent, the warden or the server.
_OOM_SCORE = 500


def become(order: Order, mark: str, keeper: int, report: int) -> NoReturn:
    """Turn this process into the task's; `report` gets what failed, as JSON, or nothing."""
    step = "system"
    try:
        if not follow_parent(keeper, signal.SIGKILL):
            os._exit(1)
        _redirect(order)
        _limit(order)
        step = "folder"
        os.chdir(order.work)
        step = "program"
        _exec(order.command, _environment(order, mark))
    except (OSError, ValueError, IndexError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if step == "program" and number == errno.ENOENT and _there(order):
            step = "interpreter"
        os.write(report, json.dumps({"cut": step, "errno": number, "said": str(error)[:500]}).encode())
    finally:
        os._exit(127)


def _redirect(order: Order) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(order.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), fd)


def _limit(order: Order) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order.cpus:
        os.sched_setaffinity(0, order.cpus)
    Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _environment(order: Order, mark: str) -> dict[str, str]:
    threads = {f"{name}_NUM_THREADS": str(len(order.cpus)) for name in _THREADS if order.cpus}
    name, value = mark.split("=")
    return {**os.environ, **threads, **order.environment, name: value}


def _exec(command: list[str], environment: dict[str, str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and so would the program
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted


def _there(order: Order) -> bool:
    """Whether the program is there, although the kernel misses something: the interpreter of a script."""
    program = order.command[0]
    folders = [""] if "/" in program else os.get_exec_path({**os.environ, **order.environment})
    return any(Path(folder, program).is_file() for folder in folders)
