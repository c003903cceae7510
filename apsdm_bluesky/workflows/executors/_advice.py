"""How a process ended, in one line that tells a newcomer what to do, and whose fault it is."""

import re
import shlex
import signal
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from ._protocol import Blame

TAIL_BYTES = 8192
"""How much of the end of standard error is worth reading."""

_LINES, _WIDTH = 12, 300


class Cut(StrEnum):
    """What kept a process from ending by itself, or from starting."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    STOPPED = "stopped"
    OOM = "oom"
    """Killed by the kernel for want of memory."""
    PROGRAM = "program"
    """The program could not be started."""
    INTERPRETER = "interpreter"
    """The program is a script, and what its first line names is not there."""
    FOLDER = "folder"
    """Its working folder could not be entered."""
    SYSTEM = "system"
    """The machine could not prepare it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended.

    Parameters
    ----------
    command
        The program and its arguments.
    work
        Where it started, or should have.
    status
        Its exit status, or the negative number of a signal; None where it never ran.
    tail
        The end of its standard error, as it was written.
    cut
        None where it ended by itself.
    limit
        What it exceeded [s or bytes].
    said
        What the system said where it could not be started.
    """

    command: tuple[str, ...]
    work: str = ""
    status: int | None
    tail: str = ""
    cut: Cut | None = None
    limit: float | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    blame: Blame
    advice: str


def _rule(pattern: str, blame: Blame, advice: str) -> _Rule:
    return _Rule(re.compile(pattern), blame, advice)


_NO_MODULE = "Python has no module {name!r}: install it ({python} -m pip install {top}) or correct its name"
_NO_FILE = "{name!r} does not exist: correct the path, or make that file first"
_NO_COMMAND = "the command {name!r} was not found: install it, correct its name or give its full path"
_NO_PERMISSION = "no permission for {name!r}: give this user access (chmod, chown) or choose another place"
_NO_SPACE = "the disk is full ({line}): free space there, then run it again"
_NO_NETWORK = (
    "the network or a server did not answer ({line}): check that it is up and reachable, then run it again"
)
_NO_MEMORY = "it asked for more memory than there is ({line}): give it less data at once, or a larger machine"

# As cat, ls, cp, mkdir and shells name a file.
_NAMED = r"(?:^|: )(?:cannot (?:create (?:directory|regular file)|\w+) )?(?P<name>'.+'|[^:]+): "

# The first that fits counts, on one line of the output at a time.
_RULES = (
    _rule(r"ModuleNotFoundError: No module named '?(?P<name>[\w.-]+)", Blame.COMMAND, _NO_MODULE),
    _rule(r"(?P<python>\S*python[\d.]*): No module named (?P<name>[\w.-]+)", Blame.COMMAND, _NO_MODULE),
    _rule(r"MemoryError\b|std::bad_alloc|Cannot allocate memory", Blame.COMMAND, _NO_MEMORY),
    _rule(r"No space left on device|Disk quota exceeded", Blame.SYSTEM, _NO_SPACE),
    _rule(
        r"Connection (?:refused|reset|timed out)|Name or service not known|Could not resolve host"
        r"|[Tt]emporary failure in name resolution|No address associated with hostname"
        r"|Network is unreachable|No route to host",
        Blame.NETWORK,
        _NO_NETWORK,
    ),
    _rule(r"can't open file (?P<name>.+): \[Errno 2\]", Blame.COMMAND, _NO_FILE),
    _rule(r"\[Errno 2\] No such file or directory: (?P<name>.+)", Blame.COMMAND, _NO_FILE),
    _rule(r"name = (?P<name>'[^']+'), errno = 2,", Blame.COMMAND, _NO_FILE),
    _rule(_NAMED + r"(?:No such file|Directory nonexistent)", Blame.COMMAND, _NO_FILE),
    _rule(r"\[Errno 13\] Permission denied: (?P<name>.+)", Blame.COMMAND, _NO_PERMISSION),
    _rule(r"name = (?P<name>'[^']+'), errno = 13,", Blame.COMMAND, _NO_PERMISSION),
    _rule(_NAMED + r"Permission denied(?! \()", Blame.COMMAND, _NO_PERMISSION),
    _rule(r"(?P<name>[^\s:]+): (?:command )?not found$", Blame.COMMAND, _NO_COMMAND),
)

_SIGNALS = {
    signal.SIGKILL: (
        Blame.SYSTEM,
        "killed by a person, or by the machine for want of memory: run it again, or with less data",
    ),
    signal.SIGTERM: (Blame.SYSTEM, "ended from outside, by a person or a shutdown: run it again"),
    signal.SIGINT: (Blame.SYSTEM, "interrupted from outside: run it again"),
    signal.SIGSEGV: (
        Blame.COMMAND,
        "segmentation fault, a defect of the program or of a compiled library: try another version or input",
    ),
    signal.SIGBUS: (
        Blame.COMMAND,
        "bus error: a file that it maps was cut short, or its disk is full; check both",
    ),
    signal.SIGILL: (
        Blame.COMMAND,
        "illegal instruction: it was built for another processor; build it for this one",
    ),
    signal.SIGABRT: (Blame.COMMAND, "it aborted itself; its last words say why"),
}

_CUTS = {
    Cut.TIMEOUT: "it ran longer than its time limit of {seconds:g} s: raise the limit, or give it less to do",
    Cut.MEMORY: "it used more memory than its limit of {size}: give it less data, or raise the limit",
    Cut.OUTPUT: "it printed more than {size}: have it print less, or write into a file of its own",
    Cut.STOPPED: "stopped on request",
    Cut.OOM: "the machine ran out of memory and killed it: give it less data, or run less beside it",
    Cut.INTERPRETER: "{program!r} is a script whose interpreter is missing: correct its first line (#!...)",
    Cut.FOLDER: "the working folder {work!r} cannot be used ({said}): make it, or correct the path",
    Cut.SYSTEM: "this machine could not start it ({said}): mend that, then run it again",
}

# An exception's name at the start of a line: what Python writes last.
_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Interrupt|Warning|Exit)\b")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def advise(ending: Ending) -> tuple[Blame | None, str]:
    """Whose fault it is, and what went wrong and what to do; (None, '') where it ended well."""
    if ending.cut is not None:
        return _of_cut(ending, ending.cut)
    if ending.status == 0:
        return None, ""
    lines = _lines(ending.tail)
    killer = _killer(ending.status)
    if killer is not None:
        return _of_signal(killer, lines)
    return _of_output(ending, lines)


def _of_cut(ending: Ending, cut: Cut) -> tuple[Blame, str]:
    blame = Blame.SYSTEM if cut in (Cut.OOM, Cut.SYSTEM) else Blame.COMMAND
    program, limit, said = "".join(ending.command[:1]), ending.limit or 0, _plain(ending.said)
    if cut is Cut.PROGRAM:
        return blame, _refused(program, said)
    words = {"seconds": limit, "size": _size(limit), "program": program, "work": ending.work, "said": said}
    return blame, _CUTS[cut].format(**words)


def _refused(program: str, said: str) -> str:
    if "No such file" in said:
        return _NO_COMMAND.format(name=program)
    if "Permission denied" in said:
        return f"{program!r} is not executable: make it so (chmod +x), or give a program to run"
    if "Exec format error" in said:
        return (
            f"{program!r} is no program of this machine: a script names its interpreter in line one (#!...)"
        )
    return f"{program!r} cannot be started ({said}): correct the command"


def _killer(status: int | None) -> signal.Signals | None:
    """The signal that ended it, also where a shell tells so of its child."""
    if status is None or -1 < status <= 128:
        return None
    number = -status if status < 0 else status - 128
    return next(
        (known for known in signal.Signals if known == number and (status < 0 or known in _SIGNALS)), None
    )


def _of_signal(killer: signal.Signals, lines: list[str]) -> tuple[Blame, str]:
    blame, text = _SIGNALS.get(killer, (Blame.COMMAND, "ended by a signal; its documentation may say why"))
    words = f"; its last line: {_last(lines)}" if lines else ""
    return blame, f"{text} ({killer.name}){words}"


def _of_output(ending: Ending, lines: list[str]) -> tuple[Blame, str]:
    code = f"exit status {ending.status}"
    for line in reversed(lines):
        for rule in _RULES:
            if found := rule.pattern.search(line):
                return rule.blame, f"{_filled(rule.advice, found, ending.command)} ({code})"
        if _EXCEPTION.match(line):
            break
    if not lines:
        return Blame.COMMAND, f"{code}, and it printed nothing: run the command by hand to see why"
    return Blame.COMMAND, f"{_last(lines)} ({code})"


def _filled(advice: str, found: re.Match[str], command: tuple[str, ...]) -> str:
    parts = found.groupdict()
    name = (parts.get("name") or "").strip(" '\"`\u2018\u2019")
    known = [path for path in command[:1] if PurePath(path).name.startswith("python")]
    python = shlex.quote(parts.get("python") or "".join(known) or "python")
    return advice.format(name=name, line=found.string, python=python, top=name.split(".")[0])


def _last(lines: list[str]) -> str:
    """The last exception that Python wrote, else the last line."""
    return next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1])


def _lines(tail: str) -> list[str]:
    """The last lines that hold something, without what would disturb a terminal."""
    lines = [_plain(line) for line in tail.splitlines()]
    return [line for line in lines if line][-_LINES:]


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", text[: 4 * _WIDTH])
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_WIDTH]


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:g} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
