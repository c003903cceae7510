"""Definitions from plain data and back: each key with what it must be. Unknown keys are refused."""

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import MISSING, fields
from typing import Any, cast

from apsdm_bluesky.errors import WorkflowError

from ._definition import Parallel, Repeat, Retries, Stage, Variable, Workflow

Reader = Callable[[object], object]


def text(value: object) -> str:
    """A text.

    Raises
    ------
    WorkflowError
        It is none. So do all readers here.
    """
    if not isinstance(value, str):
        raise WorkflowError(f"is {described(value)}; give a text, in quotes if need be")
    return value


def number(value: object) -> float:
    """A finite number."""
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        return float(value)
    raise WorkflowError(f"is {described(value)}; give a number")


def integer(value: object) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise WorkflowError(f"is {described(value)}; give a whole number")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        raise WorkflowError(f"is {described(value)}; give a list of texts")
    return tuple(text(item) for item in value)


def variable(value: object) -> Variable | None:
    """A variable; None where the job must give it."""
    if isinstance(value, list):
        items = tuple(variable(item) for item in value)
        if all(isinstance(item, str | int | float | bool) for item in items):
            return cast("Variable", items)
    elif value is None or isinstance(value, str | int | float | bool):
        return value
    raise WorkflowError(f"is {described(value)}; give a text, a number, a truth or a list of these")


def described(value: object) -> str:
    """A value in a message: short, in one line."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge number"
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def to_workflow(data: object) -> Workflow:
    """A workflow from the data of a file.

    Raises
    ------
    WorkflowError
        A key is unknown, missing, or holds what it cannot; the message names the stage and the key.
    """
    return cast("Workflow", _Record(Workflow, _WORKFLOW)(data))


def to_data(workflow: Workflow) -> dict[str, object]:
    """The data of a workflow's file, without what holds by default."""
    return cast("dict[str, object]", _data(workflow))


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise WorkflowError(f"is {described(value)}; give true or false")
    return value


def _variables(value: object) -> dict[str, Variable | None]:
    return {name: _keyed(name, variable, item) for name, item in _mapping(value).items()}


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise WorkflowError(f"is {described(value)}; give a mapping of keys to values")
    return value


def _stages(value: object) -> tuple[Stage, ...]:
    if not isinstance(value, list):
        raise WorkflowError(f"is {described(value)}; give a list of stages")
    return tuple(_stage(number, item) for number, item in enumerate(value, start=1))


def _stage(position: int, value: object) -> Stage:
    name = value.get("name") if isinstance(value, dict) else None
    label = repr(name) if isinstance(name, str) else f"number {position}"
    try:
        return cast("Stage", _Record(Stage, _STAGE)(value))
    except WorkflowError as error:
        raise WorkflowError(f"stage {label}, {error}") from error


def _keyed(key: str, reader: Reader, value: object) -> Any:
    try:
        return reader(value)
    except WorkflowError as error:
        told = str(error)
        inner = told.startswith(("key ", "stage "))
        raise WorkflowError(
            told if told.startswith("stage ") else f"key {key!r}{', ' if inner else ': '}{told}"
        ) from error


class _Record:
    """Reads a dataclass from a mapping whose keys are its fields.

    Parameters
    ----------
    kind
        The dataclass.
    readers
        How each field is read.
    """

    def __init__(self, kind: type[Any], readers: Mapping[str, Reader]) -> None:
        self._kind = kind
        self._readers = readers

    def __call__(self, value: object) -> object:
        data = _mapping(value)
        for key in data:
            if key not in self._readers:
                raise WorkflowError(f"key {key!r}: is unknown; allowed are {', '.join(self._readers)}")
        for field in fields(self._kind):
            required = field.default is MISSING and field.default_factory is MISSING
            if required and field.name not in data:
                raise WorkflowError(f"key {field.name!r}: is missing; give it")
        return self._kind(**{key: _keyed(key, self._readers[key], item) for key, item in data.items()})


def _data(value: object) -> object:
    if isinstance(value, Workflow | Stage | Repeat | Parallel | Retries):
        return {field.name: _data(item) for field, item in _given(value)}
    if isinstance(value, tuple | list):
        return [_data(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _data(item) for key, item in value.items()}
    return value


def _given(value: Any) -> list[tuple[Any, object]]:
    """The fields of a dataclass that hold something else than their default."""
    found = []
    for field in fields(value):
        item = getattr(value, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if item != default:
            found.append((field, item))
    return found


_REPEAT: dict[str, Reader] = {"period_s": number, "until": text, "maximum": integer}
_PARALLEL: dict[str, Reader] = {"over": text, "variable": text, "limit": integer}
_RETRIES: dict[str, Reader] = {"count": integer, "delay_s": number, "factor": number, "longest_s": number}
_STAGE: dict[str, Reader] = {
    "name": text,
    "command": text,
    "call": text,
    "outputs": texts,
    "working_folder": text,
    "run_if": text,
    "repeat": _Record(Repeat, _REPEAT),
    "parallel": _Record(Parallel, _PARALLEL),
    "timeout_s": number,
    "retries": _Record(Retries, _RETRIES),
    "where": text,
    "shell": _truth,
    "dm": lambda value: deepcopy(_mapping(value)),
}
_WORKFLOW: dict[str, Reader] = {
    "name": text,
    "owner": text,
    "version": integer,
    "description": text,
    "user_account": text,
    "arguments": _variables,
    "stages": _stages,
    "dm": lambda value: deepcopy(_mapping(value)),
}
