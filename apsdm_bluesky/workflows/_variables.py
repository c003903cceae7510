"""`$name` and `${name}` in templates, and commands made of them.

A command without a shell is split into arguments before any value is put in: a value can never add one.
"""

import re
import shlex
from collections.abc import Callable, Mapping

from apsdm_bluesky.errors import WorkflowError

from ._definition import Variable

RESERVED = ("id", "stage", "owner", "workflow", "job_folder")
"""Variables that every job has: its id, the stage's name, the workflow's owner and name, the job's folder."""

UNKNOWN = "variable ${name} is not known: give it as an argument, or by an earlier stage's outputs"
_MAX_TEMPLATE = 65_536  # characters
_MAX_TEXT = 120_000  # bytes; Linux takes 131,072 for one argument
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
REFERENCE = rf"\$(?:\$|\{{(?P<braced>{NAME})\}}|(?P<plain>{NAME})|(?P<broken>\{{))"
_REFERENCE = re.compile(REFERENCE)
_NAME = re.compile(NAME)


def is_name(text: str) -> bool:
    """Whether `text` can name a variable: ASCII letters, digits and `_`, no digit first."""
    return _NAME.fullmatch(text) is not None


def names_in(template: str) -> tuple[str, ...]:
    """The variables of a template, each once, in the order in which they first stand.

    Raises
    ------
    WorkflowError
        The template is too long, or has a `${` that names no variable.
    """
    found: dict[str, None] = {}
    _replace(template, lambda name: found.setdefault(name) or "")
    return tuple(found)


def substitute(template: str, values: Mapping[str, Variable]) -> str:
    """The template with its variables replaced; `$$` gives a dollar, any other `$` stays.

    Raises
    ------
    WorkflowError
        A variable is not known, is a list, or holds what no argument can.
    """
    return bounded(_replace(template, lambda name: text_of(name, values)))


def split(command: str) -> tuple[str, ...]:
    """The arguments of a command that no shell sees, with their variables still in them.

    Raises
    ------
    WorkflowError
        A quote is not closed, a line ends in a backslash, or there is nothing in it.
    """
    refuse_long(command)
    if "\\\n" in command:
        raise WorkflowError("a line ends in a backslash: write the command on one line, or in YAML after '>'")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise WorkflowError(f"is no command: {error}; close it, or put a backslash before it") from error
    if not words:
        raise WorkflowError("is empty: give a command")
    return tuple(words)


def argument_list(command: str, values: Mapping[str, Variable]) -> tuple[str, ...]:
    """The arguments of a command without a shell: as many as the template has, whatever the values hold.

    Raises
    ------
    WorkflowError
        The command cannot be split, or a variable cannot be put in.
    """
    arguments = tuple(substitute(word, values) for word in split(command))
    if not arguments[0]:
        raise WorkflowError("the program's name is empty: give the variable that holds it a value")
    return arguments


def text_of(name: str, values: Mapping[str, Variable]) -> str:
    """A variable as text.

    Raises
    ------
    WorkflowError
        It is not known, is a list, or holds a NUL or half a character.
    """
    if name not in values:
        raise WorkflowError(UNKNOWN.format(name=name))
    value = values[name]
    if isinstance(value, tuple | list):
        raise WorkflowError(f"variable ${name} is a list: name it in the stage's 'parallel'")
    text = str(value)
    if "\0" in text:
        raise WorkflowError(f"variable ${name} holds a NUL, which no argument can")
    return bounded(text)


def _replace(template: str, value: Callable[[str], str]) -> str:
    refuse_long(template)

    def replaced(match: re.Match[str]) -> str:
        name = referenced(match)
        return "$" if name is None else value(name)

    return _REFERENCE.sub(replaced, template)


def referenced(match: re.Match[str]) -> str | None:
    """The variable that a match of `REFERENCE` names; None for `$$`.

    Raises
    ------
    WorkflowError
        It is a `${` that names none.
    """
    if match["broken"]:
        raise WorkflowError("'${' names no variable: close it, as in ${name}, or write $$ for a dollar")
    name: str | None = match["braced"] or match["plain"]
    return name


def refuse_long(template: str) -> None:
    """Refuse a template that is too long, or that no argument can hold.

    Raises
    ------
    WorkflowError
        It is so.
    """
    if len(template) > _MAX_TEMPLATE:
        raise WorkflowError(
            f"has {len(template)} characters: give at most {_MAX_TEMPLATE}, or a script's file"
        )
    if "\0" in template:
        raise WorkflowError("holds a NUL, which no argument can")


def bounded(text: str) -> str:
    """`text`, if an argument can hold it.

    Raises
    ------
    WorkflowError
        It is too long, or no whole text.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise WorkflowError("holds half a character (a lone surrogate): give whole text") from error
    if size > _MAX_TEXT:
        raise WorkflowError(f"is {size} bytes with its variables: an argument holds {_MAX_TEXT}; pass a file")
    return text
