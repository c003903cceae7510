"""Commands that a shell runs, with values that it never parses.

Each value is assigned, quoted, to a shell variable at the head of the script, and the template refers to it,
quoted as its place asks. The shell's grammar is larger than what is read here: a place that is read wrongly
costs a split into words at most. Where a shell evaluates what a variable holds, variables are refused.
"""

import re
import shlex
from collections.abc import Mapping

from apsdm_bluesky.errors import WorkflowError

from ._definition import Variable
from ._variables import REFERENCE, bounded, names_in, referenced, refuse_long, text_of

SHELL = "/bin/sh"
_PREFIX = "apsdm_"  # so that no variable of a workflow is the shell's PATH or IFS
_MAX_DEPTH = 50
_TOKEN = re.compile(
    rf"(?P<escaped>\\.)|(?P<mark>\${{0,2}}\(\(?|[\"'`)\n]|(?<!\S)#|\[\[(?=\s)|\]\])|{REFERENCE}",
    re.DOTALL,
)
_END = {'"': '"', "'": "'", "`": "`", "(": ")", "((": ")", "[[": "]]", "#": "\n"}


def shell_list(command: str, values: Mapping[str, Variable]) -> tuple[str, ...]:
    """The arguments that run a command in a shell, with its values as quoted assignments before it.

    Raises
    ------
    WorkflowError
        A variable cannot be put in, or stands where a shell would evaluate it, or all is too long.
    """
    body = script_of(command)
    heads = [f"{_PREFIX}{name}={shlex.quote(text_of(name, values))}\n" for name in names_in(command)]
    return SHELL, "-c", bounded("".join(heads) + body)


def script_of(template: str) -> str:
    """The template with its variables as the shell's.

    Raises
    ------
    WorkflowError
        It is empty, too long or nested too deeply, or a variable stands where a shell would evaluate it.
    """
    refuse_long(template)
    if not template.strip():
        raise WorkflowError("is empty: give a command")
    place = _Place()

    def written(match: re.Match[str]) -> str:
        if match["escaped"]:
            place.escape(match[0][1])
            return match[0]
        if match["mark"]:
            place.mark(match[0])
            return match[0].replace("$$", "$")
        name = referenced(match)
        return "$" if name is None else place.reference(name)

    return _TOKEN.sub(written, template)


class _Place:
    """What encloses a place in a script, from the outside in: quotes, backticks, parentheses, a comment."""

    def __init__(self) -> None:
        self._around: list[str] = []

    @property
    def _top(self) -> str:
        return self._around[-1] if self._around else ""

    def reference(self, name: str) -> str:
        """How a variable is written here."""
        evaluates = next((mark for mark in self._around if mark in {"((", "[["}), None)
        if evaluates is not None:
            why = f"stands in {evaluates}, where a shell evaluates it"
            raise WorkflowError(f"variable ${name} {why}: use 'expr', or [ with quotes")
        variable = f"${{{_PREFIX}{name}}}"
        return {'"': variable, "'": f"'\"{variable}\"'"}.get(self._top, f'"{variable}"')

    def escape(self, character: str) -> None:
        """A backslash hides nothing between single quotes, nor in a comment."""
        if self._top in {"'", "#"}:
            self.mark(character)

    def mark(self, mark: str) -> None:
        """Enter or leave what a mark encloses."""
        top = self._top
        if mark == _END.get(top):
            self._around.pop()
        elif top not in {"'", "#"}:
            self._enter(mark, quoted=top == '"')
        if len(self._around) > _MAX_DEPTH:
            raise WorkflowError(f"nests quotes over {_MAX_DEPTH} deep: put the script into a file")

    def _enter(self, mark: str, *, quoted: bool) -> None:
        if mark in {"`", "]]"} and (opening := mark.replace("]]", "[[")) in self._around:
            del self._around[self._around.index(opening) :]
        elif "(" in mark and (not quoted or "$" in mark):
            self._around += ["((", "("] if "((" in mark else ["("]
        elif mark in {'"', "`"} or (mark in {"'", "#", "[["} and not quoted):
            self._around.append(mark)
