"""What is wrong with one stage."""

import importlib.util
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.errors import WorkflowError

from ._conditions import parse_condition
from ._definition import LOCAL, Stage
from ._dm_format import REPEAT_KEYS
from ._outputs import output_names
from ._script import SHELL, script_of
from ._shell import BUILTINS, shell_word
from ._timing import timing_faults
from ._variables import RESERVED, is_name, names_in, split

_MAX_OUTPUTS = 200
_LONGEST_NAME = 200  # bytes; a folder's has 255
_CALL = re.compile(r"(?!__main__\b)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_PLAIN = re.compile(r"[\w./+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong in a definition.

    Parameters
    ----------
    stage
        The stage's name; None for what concerns the whole workflow.
    key
        The key in the workflow's file.
    message
        What is wrong, and what to do.
    """

    stage: str | None
    key: str
    message: str

    def __str__(self) -> str:
        place = "" if self.stage is None else f"stage {self.stage!r}, "
        return f"{place}key {self.key!r}: {self.message}"


def bad_name(name: str) -> str:
    """Why a name cannot be a variable's."""
    if name in RESERVED:
        return f"{name!r} is a variable that every job has: choose another name"
    return f"{name!r} is no name: use letters, digits and _, with no digit first"


def outputs_of(stage: Stage) -> set[str]:
    """What its outputs define, as far as they can be read."""
    found: set[str] = set()
    for pattern in stage.outputs[:_MAX_OUTPUTS]:
        try:
            found.update(output_names(pattern))
        except WorkflowError:
            continue  # told as a fault of this key
    return found


def uses_of(stage: Stage) -> Iterator[tuple[str, str, Callable[[str], tuple[str, ...]]]]:
    """Each key that may hold variables, with its text and what finds them in it."""
    texts: list[tuple[str, str | None, Callable[[str], tuple[str, ...]]]] = [
        ("command", stage.command, names_in),
        ("working_folder", stage.working_folder, names_in),
        ("run_if", stage.run_if, _condition_names),
        ("repeat.until", stage.repeat.until if stage.repeat else None, _condition_names),
        ("parallel.over", stage.parallel.over if stage.parallel else None, names_in),
    ]
    for key, text, find in texts:
        if text is not None:
            yield key, text, find


def own_variables(stage: Stage, key: str) -> set[str]:
    """Variables that a key knows from its own stage: outputs when it repeats, a parallel child's item."""
    if key == "repeat.until":
        return outputs_of(stage)
    if stage.parallel is not None and key in {"command", "working_folder"}:
        return {stage.parallel.variable}
    return set()


def _condition_names(text: str) -> tuple[str, ...]:
    return parse_condition(text).names


class StageCheck:
    """The faults of one stage.

    Parameters
    ----------
    known
        Variables known before it; None where any may be.
    remotes, find
        Names of remotes; whether a program is there.
    """

    def __init__(
        self, stage: Stage, *, known: set[str] | None, remotes: Collection[str], find: Callable[[str], bool]
    ) -> None:
        self._stage = stage
        self._known = known
        self._remotes = remotes
        self._find = find

    def faults(self) -> list[Fault]:
        """All of them, in the order of the keys."""
        found = [*self._work(), *self._defined(), *self._used(), *self._placed(), *self._kept()]
        found += [self._fault(key, message) for key, message in timing_faults(self._stage)]
        return list(dict.fromkeys(found))  # a command that is too long is found twice

    def _fault(self, key: str, message: str) -> Fault:
        return Fault(stage=self._stage.name, key=key, message=message)

    def _work(self) -> Iterator[Fault]:
        stage = self._stage
        if not stage.name.strip() or not stage.name.isprintable():
            yield self._fault("name", "is empty or has characters that cannot be printed: give a plain one")
        elif stage.name.startswith(".") or "/" in stage.name or len(stage.name.encode()) > _LONGEST_NAME:
            limits = f"no '/', no '.' at its beginning, at most {_LONGEST_NAME} bytes"
            yield self._fault("name", f"names the folder of its results: {limits}")
        if (stage.command is None) == (stage.call is None):
            yield self._fault("command", "give either 'command' or 'call', and not both")
        elif stage.command is not None:
            yield from self._command(stage.command)
        elif stage.call is not None:
            yield from self._call(stage.call)

    def _command(self, command: str) -> Iterator[Fault]:
        try:
            if self._stage.shell:
                script_of(command)
            else:
                split(command)
        except WorkflowError as error:
            yield self._fault("command", str(error))
            return
        if self._stage.shell:
            yield from self._script(command)
        elif word := shell_word(command):
            message = f"{word!r} means something only to a shell: set 'shell: true', or quote it"
            yield self._fault("command", message)
        else:
            yield from self._program(split(command)[0])

    def _script(self, command: str) -> Iterator[Fault]:
        """Its first word is looked for where it is plain; the rest is for the shell to tell."""
        first = (command.split(maxsplit=1) or [""])[0]
        if self._stage.where == LOCAL and not self._find(SHELL):
            yield self._fault("command", f"{SHELL} is not on this machine: set 'shell: false'")
        elif first not in BUILTINS and _PLAIN.fullmatch(first):
            yield from self._program(first)

    def _program(self, word: str) -> Iterator[Fault]:
        """Only what is certain: a name with a variable, or relative to the working folder, is for the job."""
        relative = "/" in word and not word.startswith("/")
        if self._stage.where != LOCAL or "$" in word or relative or self._find(word):
            return
        if word.startswith("/") and os.path.exists(word):  # noqa: PTH110 - takes any name
            yield self._fault("command", f"{word!r} cannot be executed: chmod +x it")
        else:
            yield self._fault("command", f"{word!r} is not on this machine: install it, or give its path")

    def _call(self, call: str) -> Iterator[Fault]:
        """Whether the package is there. The module in it is not looked for: that would import the package."""
        package = call.partition(":")[0].partition(".")[0]
        if not _CALL.fullmatch(call):
            yield self._fault("call", f"{call!r} names no function: write 'module:function'")
        elif self._stage.where == LOCAL and importlib.util.find_spec(package) is None:
            yield self._fault(
                "call", f"package {package!r} is not installed here: install it, or correct the name"
            )

    def _defined(self) -> Iterator[Fault]:
        if len(self._stage.outputs) > _MAX_OUTPUTS:
            yield self._fault(
                "outputs", f"has {len(self._stage.outputs)} expressions: give at most {_MAX_OUTPUTS}"
            )
        for pattern in self._stage.outputs[:_MAX_OUTPUTS]:
            try:
                names = output_names(pattern)
            except WorkflowError as error:
                yield self._fault("outputs", str(error))
            else:
                bad = (name for name in names if name in RESERVED or not is_name(name))
                yield from (self._fault("outputs", bad_name(name)) for name in bad)
        parallel = self._stage.parallel
        if parallel is not None and (parallel.variable in RESERVED or not is_name(parallel.variable)):
            yield self._fault("parallel.variable", bad_name(parallel.variable))

    def _used(self) -> Iterator[Fault]:
        for key, text, find in uses_of(self._stage):
            try:
                names = find(text)
            except WorkflowError as error:
                yield self._fault(key, str(error))
            else:
                own = own_variables(self._stage, key)
                unknown = (name for name in names if not self._knows(name, own))
                yield from (self._fault(key, self._unknown(name)) for name in unknown)

    def _knows(self, name: str, own: set[str]) -> bool:
        return self._known is None or name in self._known or name in own

    def _unknown(self, name: str) -> str:
        later = " before this stage" if name in outputs_of(self._stage) else ""
        return (
            f"variable ${name} is not known{later}: declare it in 'arguments', or give it by an earlier stage"
        )

    def _placed(self) -> Iterator[Fault]:
        stage = self._stage
        if stage.where != LOCAL and stage.where not in self._remotes:
            known = ", ".join([LOCAL, *sorted(self._remotes)])
            yield self._fault("where", f"{stage.where!r} is no remote: known are {known}")
        folder = stage.working_folder
        if folder is not None and (not folder.strip() or ".." in Path(folder).parts):
            yield self._fault(
                "working_folder", f"{folder!r} is empty or leads up by '..': name the folder itself"
            )

    def _kept(self) -> Iterator[Fault]:
        """What a DM definition asked for and does not get."""
        given = [key for key in REPEAT_KEYS if self._stage.dm.get(key) is not None]
        if given and self._stage.repeat is None:
            yield self._fault(given[0], f"{', '.join(REPEAT_KEYS)} go together: give all three, or none")
        if self._stage.dm.get("parallelExec"):
            yield self._fault(
                "parallelExec", "does not say over what: set 'parallel' with a list variable or a glob"
            )
