"""A form made from a workflow's variables, and read again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Variable, Workflow, format_value, job_arguments, parse_value

Kind = Literal["any", "list", "number", "text", "truth"]
_PREFIX = "argument."
_OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument in a form.

    Parameters
    ----------
    kind
        What its value is. `any`, where there is no default that tells: as `parse_value` reads it.
    typed
        What stands in the form.
    required
        Whether there must be something in it.
    fault
        What is wrong with what was typed.
    """

    name: str
    kind: Kind
    typed: str = ""
    required: bool = False
    fault: str = ""

    @property
    def key(self) -> str:
        """Its name in the form."""
        return f"{_PREFIX}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of a job in a form.

    Parameters
    ----------
    others
        Lines NAME=VALUE of those that the workflow does not name.
    fault
        What is wrong with these.
    """

    fields: Sequence[Field]
    others: str = ""
    fault: str = ""

    @classmethod
    def of(cls, workflow: Workflow, given: Mapping[str, Variable] | None = None) -> "Arguments":
        """What a workflow's variables are by default, or what another job was given."""
        given = given or {}
        declared = workflow.arguments or {}
        names = dict.fromkeys((*job_arguments(workflow), *given))
        return cls(fields=[_field(name, given.get(name, declared.get(name))) for name in names])

    def read(self, sent: Mapping[str, str]) -> "tuple[Arguments, Mapping[str, Variable]]":
        """The form as it was sent, with what is wrong in it, and the values; an empty field has none."""
        values: dict[str, Variable] = {}
        fields = [_read(field, sent, values) for field in self.fields]
        others, fault = sent.get(_OTHERS, ""), ""
        try:
            values |= dict(_lines(others))
        except WorkflowError as error:
            fault = str(error)
        return Arguments(fields=fields, others=others, fault=fault), values

    @property
    def faulty(self) -> bool:
        """Whether anything is wrong in it."""
        return bool(self.fault) or any(field.fault for field in self.fields)


def _field(name: str, value: Variable | None) -> Field:
    if value is None:
        return Field(name=name, kind="any", required=True)
    kind = _kind(value)
    return Field(name=name, kind=kind, typed=value if isinstance(value, str) else format_value(value))


def _kind(value: Variable) -> Kind:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, tuple) else "number"


def _read(field: Field, sent: Mapping[str, str], values: dict[str, Variable]) -> Field:
    """The field with what was typed; its value is put into `values`."""
    typed = sent.get(field.key, "")
    field = replace(field, typed=typed)
    if field.kind == "text":
        if field.key in sent:
            values[field.name] = typed
        return field
    if not typed.strip():
        return replace(field, fault='give a value; "" is an empty text') if field.required else field
    try:
        values[field.name] = value = parse_value(typed)
    except WorkflowError as error:
        return replace(field, fault=str(error))
    if field.kind not in ("any", _kind(value)):
        return replace(field, fault=f"is no {_WANTED[field.kind]}")
    return field


_WANTED = {"list": "list, as [1, 2, a b]", "number": "number, as 5 or 0.5", "truth": "true or false"}


def _lines(text: str) -> Iterator[tuple[str, Variable]]:
    for line in text.splitlines():
        if not line.strip():
            continue
        name, sign, value = line.partition("=")
        if not sign:
            raise WorkflowError(f"{line!r}: write NAME=VALUE")
        try:
            yield name.strip(), parse_value(value)
        except WorkflowError as error:
            raise WorkflowError(f"{name.strip()}: {error}") from error
