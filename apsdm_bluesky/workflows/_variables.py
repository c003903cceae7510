"""`$name` and `${name}` in templates, and commands made of them.

A value can never add an argument or a shell construct. Without a shell, the template is split into arguments
before any value is put in. With a shell, values are assigned to shell variables at the head of the script,
each quoted, and the template refers to these: a shell does not parse again what a variable holds.
"""

import re
import shlex
from collections.abc import Callable, Mapping

from apsdm_bluesky.errors import WorkflowError

from ._definition import Variable

RESERVED = ("id", "stage", "owner", "workflow")
"""Variables that every job has: its id, the stage's name, and the workflow's owner and name."""

SHELL = "/bin/sh"
UNKNOWN = "variable ${name} is not known: give it as an argument, or by an earlier stage's outputs"
_MAX_TEMPLATE = 65_536  # characters
_MAX_TEXT = 120_000  # bytes; Linux takes 131,072 for one argument
_PREFIX = "apsdm_"  # so that no variable of a workflow is the shell's PATH or IFS
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
REFERENCE = rf"\$(?:\$|\{{(?P<braced>{NAME})\}}|(?P<plain>{NAME})|(?P<broken>\{{))"
_REFERENCE = re.compile(REFERENCE)
_NAME = re.compile(NAME)
_SHELL_TOKEN = re.compile(
    rf"(?P<escaped>\\.)|(?P<mark>\${{0,2}}\(|[\"'`)\n]|(?<!\S)#)|{REFERENCE}",
    re.DOTALL,
)


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
    return _bounded(_replace(template, lambda name: text_of(name, values)))


def split(command: str) -> tuple[str, ...]:
    """The arguments of a command that no shell sees, with their variables still in them.

    Raises
    ------
    WorkflowError
        A quote is not closed, a line ends in a backslash, or there is nothing in it.
    """
    _refuse_long(command)
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


def shell_list(command: str, values: Mapping[str, Variable]) -> tuple[str, ...]:
    """The arguments that run a command in a shell, with its values as quoted assignments before it.

    Raises
    ------
    WorkflowError
        A variable cannot be put in, or all is too long for one argument.
    """
    if not command.strip():
        raise WorkflowError("is empty: give a command")
    heads = [f"{_PREFIX}{name}={shlex.quote(text_of(name, values))}\n" for name in names_in(command)]
    script = "".join(heads) + _for_shell(command)
    return SHELL, "-c", _bounded(script)


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
    return _bounded(text)


def _replace(template: str, value: Callable[[str], str]) -> str:
    _refuse_long(template)

    def replaced(match: re.Match[str]) -> str:
        name = _name(match)
        return "$" if name is None else value(name)

    return _REFERENCE.sub(replaced, template)


def _name(match: re.Match[str]) -> str | None:
    """The variable that a match of `REFERENCE` names; None for `$$`."""
    if match["broken"]:
        raise WorkflowError("'${' names no variable: close it, as in ${name}, or write $$ for a dollar")
    name: str | None = match["braced"] or match["plain"]
    return name


def _refuse_long(template: str) -> None:
    if len(template) > _MAX_TEMPLATE:
        raise WorkflowError(
            f"has {len(template)} characters: give at most {_MAX_TEMPLATE}, or a script's file"
        )
    if "\0" in template:
        raise WorkflowError("holds a NUL, which no argument can")


def _bounded(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise WorkflowError("holds half a character (a lone surrogate): give whole text") from error
    if size > _MAX_TEXT:
        raise WorkflowError(f"is {size} bytes with its variables: an argument holds {_MAX_TEXT}; pass a file")
    return text


def _for_shell(template: str) -> str:
    """The template with its variables as the shell's, quoted as the place where they stand asks.

    `context` holds the marks that enclose the place. Were it wrong, a value could be split into words,
    but not be parsed.
    """
    context: list[str] = []

    def written(match: re.Match[str]) -> str:
        text = match[0]
        if match["escaped"]:
            _escaped(text, context)
            return text
        if match["mark"]:
            _enclose(text, context)
            return text.replace("$$", "$")
        return _reference(_name(match), context)

    return _SHELL_TOKEN.sub(written, template)


def _reference(name: str | None, context: list[str]) -> str:
    if name is None:
        return "$"
    variable = f"${{{_PREFIX}{name}}}"
    return {'"': variable, "'": f"'\"{variable}\"'"}.get(_top(context), f'"{variable}"')


def _top(context: list[str]) -> str:
    return context[-1] if context else ""


def _escaped(text: str, context: list[str]) -> None:
    """A backslash hides nothing between single quotes, nor in a comment."""
    if _top(context) in {"'", "#"}:
        _enclose(text[1], context)


def _enclose(mark: str, context: list[str]) -> None:
    """Enter or leave what a quote, a backtick, a parenthesis or a comment encloses."""
    top = _top(context)
    if mark == _END.get(top):
        context.pop()
    elif top in {"'", "#"}:
        return
    elif mark == "`" and "`" in context:
        del context[context.index("`") :]
    elif mark.endswith("(") and (top != '"' or "$" in mark):
        context.append("(")
    elif mark in {'"', "`"} or (mark in {"'", "#"} and top != '"'):
        context.append(mark)


_END = {'"': '"', "'": "'", "`": "`", "(": ")", "#": "\n"}
