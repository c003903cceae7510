"""Rows of the tables as what they mean, and back."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.workflows._definition import Variable
from apsdm_bluesky.workflows.executors import Blame

from ._job import Attempt, Job, StageEntry, State

# What names a file stands as JSON, too: a name that is no UTF-8 is to come back as it was.
_JSON = ("stages", "arguments", "variables", "outputs", "command", "environment", "item", "working_folder")


def values_of(message: Job | StageEntry | Attempt) -> dict[str, Any]:
    """The columns of a message."""
    fields = {entry.name: getattr(message, entry.name) for entry in dataclasses.fields(message)}
    return {name: json.dumps(value) if name in _JSON else value for name, value in fields.items()}


def job_of(row: sa.Row[Any]) -> Job:
    """A job."""
    return Job(**_fields(row, Job))


def stage_of(row: sa.Row[Any]) -> StageEntry:
    """What became of a stage."""
    return StageEntry(**_fields(row, StageEntry))


def attempt_of(row: sa.Row[Any]) -> Attempt:
    """A process."""
    return Attempt(**_fields(row, Attempt))


def variables_of(data: Mapping[str, Any]) -> dict[str, Variable]:
    """Variables as JSON gives them: its lists are tuples here."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}


def _fields(row: sa.Row[Any], kind: type[Job | StageEntry | Attempt]) -> dict[str, Any]:
    known = row._mapping  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    return {entry.name: _value(entry.name, known[entry.name]) for entry in dataclasses.fields(kind)}


def _value(name: str, stored: Any) -> Any:
    if stored is None or name not in _MEANING:
        return stored
    return _MEANING[name](stored)


_MEANING: Mapping[str, Callable[[Any], Any]] = {
    **{name: lambda text: tuple(json.loads(text)) for name in ("stages", "command")},
    **{name: lambda text: variables_of(json.loads(text)) for name in ("arguments", "variables", "outputs")},
    **dict.fromkeys(("environment", "item", "working_folder"), json.loads),
    "state": State,
    "blame": Blame,
}
