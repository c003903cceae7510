"""The DM system's definitions, read and written without loss.

Every key that our fields do not give again as it was, known or not, is kept in `dm` and written back. Once a
field is changed, the key that it was read from follows the field.
"""

import ast
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from apsdm_bluesky.errors import WorkflowError

from ._definition import LOCAL, Repeat, Stage, Workflow
from ._fields import described, integer, number, text, texts
from ._shell import needs_shell
from ._text_file import MAX_SIZE, read_text

REPEAT_KEYS = ("repeatPeriod", "repeatUntil", "maxRepeats")
_MAX_DEPTH = 20
_MAX_VALUES = 500_000
_STAGE_KEYS = {"command", "outputVariableRegexList", "workingDir", "runIf", *REPEAT_KEYS}
_WORKFLOW_KEYS = {"name", "owner", "version", "description", "userAccount"}
_OURS = ("call", "parallel", "timeout_s", "retries")


def load_dm(path: Path) -> Workflow:
    """A workflow from a file of the DM system's.

    Raises
    ------
    WorkflowError
        It cannot be read, or as for `parse_dm`; the message names the file.
    """
    source = read_text(path)
    try:
        return parse_dm(source)
    except WorkflowError as error:
        raise WorkflowError(f"{path}: {error}") from error


def parse_dm(source: str) -> Workflow:
    """A workflow from the text of a DM file: a Python dictionary, as DM's own files have it, or JSON.

    Raises
    ------
    WorkflowError
        It is neither, or as for `read_dm`.
    """
    if len(source) > MAX_SIZE:
        raise WorkflowError(f"is longer than {MAX_SIZE} characters; give a DM workflow")
    try:
        data = json.loads(source, object_pairs_hook=_pairs)
    except ValueError:  # no JSON, or a number of thousands of digits
        data = _literal(source)
    except RecursionError as error:
        raise WorkflowError("is nested too deeply; give a DM workflow") from error
    return read_dm(data)


def read_dm(data: object) -> Workflow:
    """A workflow from a DM definition. Its stages stand in the sorted order of their names.

    The DM system runs every command in a shell. Here a stage has one where its command holds anything that
    could mean something to a shell; to other commands a shell makes no difference.

    Raises
    ------
    WorkflowError
        A key that we know holds what it cannot; the message names the stage and the key.
    """
    _refuse_deep(data)
    raw = _mapping(data, "the definition")
    stages = _mapping(raw.get("stages"), "key 'stages'")
    head = _head(raw)
    kept = {key: value for key, value in raw.items() if key != "stages"}
    return replace(
        head,
        stages=tuple(_read_stage(name, stages[name]) for name in sorted(stages)),
        dm=_kept(kept, _write_head(head)),
    )


def write_dm(workflow: Workflow) -> dict[str, object]:
    """The DM definition of a workflow.

    Raises
    ------
    WorkflowError
        The workflow says what a DM definition cannot.
    """
    names = [stage.name for stage in workflow.stages]
    if names != sorted(set(names)):
        raise WorkflowError(
            "stages of the DM system run in the sorted order of their names: rename them, as in 01-, 02-"
        )
    if workflow.arguments is not None:
        raise WorkflowError("key 'arguments': the DM system's jobs take any; leave it out")
    written = _write_head(workflow)
    bare = replace(workflow, stages=(), dm={})
    known = {key for key in workflow.dm if key in _WORKFLOW_KEYS}
    stale = {key for key in known if _head({**written, key: workflow.dm[key]}) != bare}
    written |= {key: deepcopy(value) for key, value in workflow.dm.items() if key not in stale | {"stages"}}
    return {**written, "stages": {stage.name: _write_stage(stage) for stage in workflow.stages}}


def _head(raw: Mapping[str, object]) -> Workflow:
    return Workflow(
        name=_read(raw, "name", text) or "",
        owner=_read(raw, "owner", text) or "",
        version=1 if (version := _read(raw, "version", _integer)) is None else version,
        description=_read(raw, "description", text) or "",
        user_account=_read(raw, "userAccount", text),
    )


def _write_head(workflow: Workflow) -> dict[str, object]:
    values = {
        "name": workflow.name or None,
        "owner": workflow.owner or None,
        "version": None if workflow.version == 1 else workflow.version,
        "description": workflow.description or None,
        "userAccount": workflow.user_account,
    }
    return {key: value for key, value in values.items() if value is not None}


def _read_stage(name: str, data: object) -> Stage:
    raw = _mapping(data, f"stage {name!r}")
    try:
        stage = _stage(name, raw)
    except WorkflowError as error:
        raise WorkflowError(f"stage {name!r}, {error}") from error
    return replace(stage, dm=_kept(raw, _canonical(stage)))


def _stage(name: str, raw: Mapping[str, object]) -> Stage:
    command = _read(raw, "command", text)
    return Stage(
        name=name,
        command=command,
        outputs=_read(raw, "outputVariableRegexList", texts) or (),
        working_folder=_read(raw, "workingDir", text),
        run_if=_read(raw, "runIf", text),
        repeat=_repeat(raw),
        shell=command is not None and needs_shell(command),
    )


def _repeat(raw: Mapping[str, object]) -> Repeat | None:
    """None where not all three keys are given; `check` tells it, since these are kept."""
    period, maximum = _read(raw, "repeatPeriod", _number), _read(raw, "maxRepeats", _integer)
    until = _read(raw, "repeatUntil", text)
    if period is None or until is None or maximum is None:
        return None
    return Repeat(period_s=period, until=until, maximum=maximum)


def _write_stage(stage: Stage) -> dict[str, object]:
    for key in _OURS:
        if getattr(stage, key) is not None:
            raise WorkflowError(f"stage {stage.name!r}, key {key!r}: the DM system has none; leave it out")
    if stage.where != LOCAL:
        raise WorkflowError(f"stage {stage.name!r}, key 'where': the DM system runs here only; leave it out")
    written = _canonical(stage)
    bare = _stage(stage.name, written)
    if bare.shell and not stage.shell:
        raise WorkflowError(
            f"stage {stage.name!r}, key 'command': the DM system gives it to a shell; set 'shell'"
        )
    known = {key for key in stage.dm if key in _STAGE_KEYS}
    stale = {key for key in known if _stage(stage.name, {**written, key: stage.dm[key]}) != bare}
    return written | {key: deepcopy(value) for key, value in stage.dm.items() if key not in stale}


def _canonical(stage: Stage) -> dict[str, object]:
    values: dict[str, object] = {
        "command": stage.command,
        "outputVariableRegexList": list(stage.outputs) or None,
        "workingDir": stage.working_folder,
        "runIf": stage.run_if,
    }
    if stage.repeat is not None:
        repeat = stage.repeat
        values |= dict(zip(REPEAT_KEYS, (repeat.period_s, repeat.until, repeat.maximum), strict=True))
    return {key: value for key, value in values.items() if value is not None}


def _kept(raw: Mapping[str, object], canonical: Mapping[str, object]) -> dict[str, object]:
    """The keys that `canonical` does not give again as they were, in value and in type."""
    return {
        key: deepcopy(value)
        for key, value in raw.items()
        if key not in canonical or _differs(canonical[key], value)
    }


def _differs(written: object, read: object) -> bool:
    return type(written) is not type(read) or written != read


def _read(raw: Mapping[str, object], key: str, reader: Any) -> Any:
    value = raw.get(key)
    try:
        return None if value is None else reader(value)
    except WorkflowError as error:
        raise WorkflowError(f"key {key!r}: {error}") from error


def _number(value: object) -> float:
    """A number; DM's files have it as text too."""
    try:
        return number(float(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise WorkflowError(f"is {described(value)}; give a number") from error


def _integer(value: object) -> int:
    """A whole number; DM's files have it as text too."""
    try:
        return integer(int(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise WorkflowError(f"is {described(value)}; give a whole number") from error


def _mapping(data: object, what: str) -> dict[str, object]:
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise WorkflowError(f"{what} is {described(data)}; give a mapping of names to values")
    return data


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _refuse_twice([key for key, _ in pairs])
    return dict(pairs)


def _literal(source: str) -> object:
    """What a Python literal says; comments may stand in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", (SyntaxWarning, DeprecationWarning)
            )  # '\\d' is usual in DM's files
            tree = ast.parse(source.strip(), mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                _refuse_twice([key.value for key in node.keys if isinstance(key, ast.Constant)])
        return ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise WorkflowError("is neither a dictionary of Python's nor JSON; give a DM workflow") from error


def _refuse_twice(keys: Sequence[object]) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            raise WorkflowError(f"key {key!r}: stands twice in one mapping; keep one")
        seen.add(key)


def _refuse_deep(data: object) -> None:
    """Bounds what is copied and compared later."""
    layer, count = [data], 0
    for _ in range(_MAX_DEPTH):
        inside = (inner for value in layer for inner in _inside(value))
        layer = list(islice(inside, _MAX_VALUES))
        count += len(layer)
        if not layer or count >= _MAX_VALUES:
            break
    if layer:
        raise WorkflowError(
            f"is nested more than {_MAX_DEPTH} deep or has too many values; give a DM workflow"
        )


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()
