"""What a shell would see in a command."""

import re

from ._variables import REFERENCE

BUILTINS = frozenset(
    {
        *(
            "alias",
            "bg",
            "break",
            "case",
            "cd",
            "command",
            "continue",
            "eval",
            "exec",
            "exit",
            "export",
            "fc",
            "fg",
        ),
        *(
            "for",
            "getopts",
            "hash",
            "if",
            "jobs",
            "local",
            "read",
            "readonly",
            "return",
            "set",
            "shift",
            "source",
        ),
        *(
            "times",
            "trap",
            "type",
            "ulimit",
            "umask",
            "unalias",
            "unset",
            "until",
            "wait",
            "while",
            ".",
            ":",
            "!",
            "{",
        ),
    }
)
"""First words that only a shell knows."""

_REFERENCE = re.compile(REFERENCE)
_MEANINGFUL = re.compile(r"[|&;<>()`*?\[\]~#\\\n!{}]")
_OPERATOR = re.compile(r"(?<!\S)(?:\d?(?:>>|>|<)(?:&\d)?\S*|\|\|?|&&?|;)(?!\S)")
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


def needs_shell(command: str) -> bool:
    """Whether a character or the first word of a command could mean something to a shell, quoted or not."""
    first = (command.split() or [""])[0]
    bare = _REFERENCE.sub("", command)
    return _MEANINGFUL.search(bare) is not None or first in BUILTINS or "=" in first or "$" in bare


def shell_word(command: str) -> str | None:
    """A word of a command that only a shell understands, for instance `|`; None where there is none."""
    first = (command.split() or [""])[0]
    if first in BUILTINS:
        return first
    match = _OPERATOR.search(_QUOTED.sub("''", command))
    return match[0] if match else None
