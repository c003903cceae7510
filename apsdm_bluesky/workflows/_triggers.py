"""Rules that start a workflow when a run ends: whether one applies to a run, and what its job is given.

Nothing here does I/O. A run's metadata is from outside: whatever it holds, a rule applies or it does not.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from apsdm_bluesky.config import TriggerConfig, faults_of
from apsdm_bluesky.errors import ConfigError, WorkflowError

from ._conditions import parse_condition
from ._definition import Value, Variable
from ._variables import REFERENCE, is_name, names_in, substitute, text_of

NOTE = "workflows"
"""The key of the note that a run in the spool has, where rules may apply to it."""

_MAX_VARIABLES = 1_000  # of a run; those that stand deepest are left out
_MAX_ITEMS = 10_000  # of a list
_MAX_BITS = 1_024  # of a whole number; Python refuses to write much longer ones
_NO_NAME = re.compile(r"[^A-Za-z0-9_]")
_ONE = re.compile(REFERENCE)
_LOST = ("missing", "corrupt", "dropped")  # frames, of a stream `ledger`: the ends of its keys


def check_rules(rules: Iterable[TriggerConfig]) -> None:
    """Refuse rules whose condition or arguments cannot be read.

    Raises
    ------
    ConfigError
        Which, and why.
    """
    for rule in rules:
        place = f"workflows.triggers: {rule.name}"
        try:
            if rule.when is not None:
                place = f"workflows.triggers: {rule.name}: when"
                parse_condition(rule.when)
            for name, template in _templates(rule):
                place = f"workflows.triggers: {rule.name}: arguments.{name}"
                names_in(template)
        except WorkflowError as error:
            raise ConfigError(f"{place}: {error}") from error


def rules_to_note(rules: Iterable[TriggerConfig], start: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules that may apply to a run, as a note keeps them: later changes do not change what was asked."""
    return [rule.model_dump(mode="json") for rule in rules if may_apply(rule, start)]


def rules_of(note: Any) -> Sequence[TriggerConfig]:
    """The rules of a note.

    Raises
    ------
    WorkflowError
        They are no rules of this version.
    """
    try:
        return [TriggerConfig.model_validate(entry) for entry in note["rules"]]
    except ValidationError as error:
        raise WorkflowError(f"its rules cannot be read: {faults_of(error)}") from error
    except (TypeError, KeyError) as error:
        raise WorkflowError("its rules cannot be read: they are not as this version writes them") from error


def may_apply(rule: TriggerConfig, start: Mapping[str, Any]) -> bool:
    """Whether the rule's plan and kind of run are those of the run."""
    if "raw_uid" in start and not rule.analysis:
        return False
    plan = start.get("plan_name", "")
    return isinstance(plan, str) and any(fnmatchcase(plan, pattern) for pattern in rule.plan)


def why_not(
    rule: TriggerConfig, start: Mapping[str, Any], stop: Mapping[str, Any], *, lost: int | None
) -> str:
    """Why the rule does not apply to a run that has ended; empty where it does.

    Parameters
    ----------
    lost
        Frames that were lost; None: the run does not tell.

    Raises
    ------
    WorkflowError
        Its condition cannot be judged: a variable is not known, or two values have no order.
    """
    status = stop.get("exit_status")
    if not may_apply(rule, start):
        return "another plan, or an analysis"
    if status not in rule.exit_status:
        return f"the run's exit status is {status!r}"
    if rule.when is not None and not _holds(rule.when, run_variables(start, stop)):
        return f"{rule.when} does not hold"
    return "" if rule.loss == "any" else _loss_differs(rule.loss, lost)


def rule_arguments(
    rule: TriggerConfig, start: Mapping[str, Any], stop: Mapping[str, Any]
) -> dict[str, Variable]:
    """What the job of a rule is given. An argument that is one variable has that one's type.

    Raises
    ------
    WorkflowError
        A variable is not known, or holds what no argument can.
    """
    values = run_variables(start, stop)
    given: dict[str, Variable] = dict(rule.arguments)
    for name, template in _templates(rule):
        try:
            given[name] = _argument(template, values)
        except WorkflowError as error:
            raise WorkflowError(f"argument {name}: {error}") from error
    return given


def run_variables(start: Mapping[str, Any], stop: Mapping[str, Any]) -> dict[str, Variable]:
    """The variables of a run: `exit_status`, and the start document's texts, numbers, truths and lists.

    `{"sample": {"name": "silica"}}` is `sample_name`; any character that no name has becomes `_`. Of two that
    get the same name, the one that stands less deep counts, then the first. `raw_uid` is empty for a run that
    is no analysis.
    """
    found: dict[str, Variable] = {"exit_status": str(stop.get("exit_status", ""))}
    for name, value in _leaves(start):
        if len(found) == _MAX_VARIABLES:
            break
        found.setdefault(name, value)
    found.setdefault("raw_uid", "")
    return found


def frames_lost(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> int | None:
    """Frames that a run has lost in acquisition, storage or reduction, as its stream `ledger` tells.

    The text of the stop document's `reason` is for people; a fault may stand there in place of the count.
    None where the run has no ledger, or one that holds no counts.
    """
    ledgers: set[str] = set()
    lost: int | None = None
    for name, document in documents:
        if name == "descriptor" and document.get("name") == "ledger":
            ledgers.add(str(document.get("uid")))
        elif name == "event" and str(document.get("descriptor")) in ledgers:
            data = document.get("data")
            if isinstance(data, Mapping):
                lost = (lost or 0) + _lost_of(data)
    return lost


def _lost_of(data: Mapping[str, Any]) -> int:
    counts = (count for key, count in data.items() if key.rpartition("_")[2] in _LOST)
    return sum(count for count in counts if isinstance(count, int))


def _loss_differs(wanted: str, lost: int | None) -> str:
    if lost is None:
        return "the run has no ledger that tells whether frames were lost"
    if (lost > 0) is (wanted == "some"):
        return ""
    return f"{lost} frames were lost"


def _templates(rule: TriggerConfig) -> list[tuple[str, str]]:
    return [(name, value) for name, value in rule.arguments.items() if isinstance(value, str)]


def _holds(text: str, values: Mapping[str, Variable]) -> bool:
    condition = parse_condition(text)
    _refuse_unknown(condition.names, values)
    return condition.holds(values)


def _refuse_unknown(names: Iterable[str], values: Mapping[str, Variable]) -> None:
    unknown = [name for name in names if name not in values]
    if unknown:
        raise WorkflowError(f"the run has no variable ${unknown[0]}: have its metadata give it")


def _argument(template: str, values: Mapping[str, Variable]) -> Variable:
    _refuse_unknown(names_in(template), values)
    match = _ONE.fullmatch(template)
    name = match and (match["braced"] or match["plain"])
    if not name:
        return substitute(template, values)
    value = values[name]
    for item in value if isinstance(value, tuple) else (value,):
        text_of(name, {name: item})  # refuses what no argument holds
    return value


def _leaves(start: Mapping[str, Any]) -> Iterator[tuple[str, Variable]]:
    """Names and values, the less deep ones first."""
    waiting: deque[tuple[str, Mapping[str, Any]]] = deque([("", start)])
    seen = 0
    while waiting and seen <= _MAX_VARIABLES:
        prefix, mapping = waiting.popleft()
        for key, value in mapping.items():
            name = prefix + _NO_NAME.sub("_", str(key))
            seen += 1
            if isinstance(value, Mapping):
                waiting.append((f"{name}_", value))
            elif is_name(name) and (variable := _variable(value)) is not None:
                yield name, variable


def _variable(value: Any) -> Variable | None:
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value[:_MAX_ITEMS]]
        known = tuple(item for item in items if item is not None)
        return known if len(known) == len(value) else None
    return _plain(value)


def _plain(value: Any) -> Value | None:
    """A text, number or truth; what is no finite number is a text, for JSON has none."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return None
