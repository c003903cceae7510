"""Variables found in a stage's output by regular expressions, in time linear in the output.

RE2 has neither look-around nor back-references, and so nothing that can backtrack for ever. It takes Python's
`(?P<name>...)`, which DM definitions use.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2

from apsdm_bluesky.errors import WorkflowError

MAX_OUTPUT = 2**20
"""Bytes of output that are searched: the last ones."""

_MAX_PATTERN = 2_000  # characters
_MAX_PROGRAM = 500  # instructions; the time is that of text times instructions, at worst
_MAX_MEMORY = 8 * 2**20  # bytes of one compiled expression
_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?<(\w+)>", re.DOTALL)
_MAX_VALUE = 65_536  # characters


def output_names(pattern: str) -> tuple[str, ...]:
    """The variables that an expression defines, in the order of their groups.

    Raises
    ------
    WorkflowError
        It is no expression that can be used, or has no named group.
    """
    groups = _compiled(pattern).groupindex
    return tuple(sorted(groups, key=groups.__getitem__))


def find_outputs(patterns: Iterable[str], output: bytes, *, required: bool = True) -> dict[str, str]:
    """The variables that expressions find, each at its first match in the last MiB of an output.

    A group that takes no part in the match defines nothing. Bytes that are no UTF-8 become U+FFFD.

    Parameters
    ----------
    required
        Whether each expression must match. Else one that does not defines nothing.

    Raises
    ------
    WorkflowError
        A required expression matches nowhere, or what one found is too long for a variable.
    """
    text = output[-MAX_OUTPUT:].decode(errors="replace")
    found: dict[str, str] = {}
    for pattern in patterns:
        match = _compiled(pattern).search(text)
        if match is None and required:
            raise WorkflowError(_nothing(pattern, len(output)))
        groups = match.groupdict() if match is not None else {}
        found |= {name: value for name, value in groups.items() if value is not None}
    for name, value in found.items():
        if len(value) > _MAX_VALUE:
            raise WorkflowError(f"variable ${name} would hold {len(value)} characters: match fewer")
    return found


def _nothing(pattern: str, size: int) -> str:
    part = "the output" if size <= MAX_OUTPUT else f"the last {MAX_OUTPUT} of its {size} bytes"
    return f"{pattern!r} matches nowhere in {part}: look what the command printed"


@lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    if len(pattern) > _MAX_PATTERN:
        raise WorkflowError(f"has {len(pattern)} characters: give at most {_MAX_PATTERN}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise WorkflowError(f"{pattern!r} is no expression that RE2 takes: {_told(error)}") from error
    if compiled.programsize > _MAX_PROGRAM:
        steps = f"{compiled.programsize} steps a character, of {_MAX_PROGRAM}"
        raise WorkflowError(f"{pattern!r} needs {steps}: repeat less in it")
    if not compiled.groupindex:
        raise WorkflowError(f"{pattern!r} has no named group: write (?P<name>...)")
    names = [name for name in _GROUP.findall(pattern) if name]
    if len(names) != len(set(names)):
        raise WorkflowError(f"{pattern!r} names a group twice, of which RE2 would take the first: rename one")
    return compiled


def _told(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return f"{text}; it has no look-around and no back-references"
