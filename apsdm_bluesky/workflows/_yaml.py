"""Workflow files of ours, in YAML: read strictly, and written so that they read the same.

No tags, no anchors, no aliases, no key twice: what a file says is what stands in it, and it cannot grow.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml

from apsdm_bluesky.errors import WorkflowError

from ._definition import Variable, Workflow
from ._fields import to_data, to_workflow, variable
from ._text_file import MAX_SIZE, read_text

_MAX_DEPTH = 25  # a DM definition's twenty, and what encloses them
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d{1,300}\.\d{0,300}|\.\d{1,300})(e[-+]\d{1,3})?", re.ASCII | re.IGNORECASE)
_ONE_LINE = MAX_SIZE
_NULLS = ("", "~", "null", "Null", "NULL")
_YAML_BEGINS = ("[", '"', "'")
_TRUTHS = {"true": True, "True": True, "false": False, "False": False}


def load_workflow(path: Path) -> Workflow:
    """Read a workflow file.

    Raises
    ------
    WorkflowError
        It cannot be read, or says what a definition cannot: the message names file, stage and key.
    """
    return parse_workflow(read_text(path), source=str(path))


def parse_workflow(text: str, *, source: str = "workflow") -> Workflow:
    """Read a workflow from the text of a file, which `source` names in messages.

    Raises
    ------
    WorkflowError
        As `load_workflow`.
    """
    with _named(source):
        return to_workflow(_document(text))


def parse_value(text: str) -> Variable:
    """The value of a variable as a person types it: a number, a truth, a text, or a list as `[1, 2, a b]`.

    It means what it would mean in a workflow file. What begins with `[` or a quote is YAML; a text in quotes
    is always a text. All else that is neither a number nor a truth is a text, as it stands.

    Raises
    ------
    WorkflowError
        It is not known whether it is a text, as of `no`, or it is no list of values.
    """
    if text[:1] not in _YAML_BEGINS:
        value: object = _plain(text)
        if value is None:
            raise WorkflowError(_doubtful(text))
    else:
        with _named("the value"):
            value = variable(_document(text))
    return cast("Variable", value)


def format_value(value: Variable) -> str:
    """What a person types for a value: `parse_value` reads the same from it."""
    if isinstance(value, str) and _stands_for_itself(value):
        return value
    data = list(value) if isinstance(value, tuple) else value
    style = '"' if isinstance(value, str) else None
    how: dict[str, Any] = {"default_flow_style": True, "default_style": style, "width": _ONE_LINE}
    text = cast("str", yaml.dump(data, Dumper=_Dumper, allow_unicode=True, **how))
    return text.removesuffix("\n...\n").strip()


def _stands_for_itself(text: str) -> bool:
    return text[:1] not in _YAML_BEGINS and _plain(text) == text


def format_workflow(workflow: Workflow) -> str:
    """The text of a workflow file: `parse_workflow` reads the same workflow from it.

    Raises
    ------
    WorkflowError
        The workflow holds what YAML cannot, for instance an infinite number.
    """
    text = yaml.dump(to_data(workflow), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if parse_workflow(text) != workflow:
        raise WorkflowError(
            f"workflow {workflow.name!r}: a value of it cannot be written in YAML; use plain text"
        )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes equal values twice rather than by an anchor."""

    def ignore_aliases(self, data: object) -> bool:
        """Whether `data` is written in full each time."""
        del data
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Escaped where it holds what cannot be printed: YAML folds line ends of other kinds."""
    style = None if text.replace("\n", "").isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Every fault in what is read is told as one of `source`."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise WorkflowError(
            f"{source}: holds half a character (a lone surrogate); give whole text"
        ) from error
    except yaml.YAMLError as error:
        raise WorkflowError(f"{source}: is no YAML: {' '.join(str(error).split())}") from error
    except WorkflowError as error:
        raise WorkflowError(f"{source}: {error}") from error


def _document(text: str) -> object:
    if len(text) > MAX_SIZE:
        raise WorkflowError(f"is longer than {MAX_SIZE} characters; give a workflow file")
    text.encode()
    events = yaml.parse(text, Loader=_Loader)
    data: object = None
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            data = _node(next(events), events, _MAX_DEPTH)
    if documents != 1:
        raise WorkflowError(f"holds {documents} documents; give one workflow a file")
    return data


def _node(event: Any, events: Iterator[Any], depth: int) -> object:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise WorkflowError(f"{_line(event)} has an anchor or an alias; write the value out")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if event.tag is not None:
        raise WorkflowError(f"{_line(event)} has a tag {event.tag!r}; write the plain value")
    if depth == 0:
        raise WorkflowError(f"{_line(event)} is nested more than {_MAX_DEPTH} deep; give a workflow file")
    if isinstance(event, yaml.SequenceStartEvent):
        return list(_items(events, depth))
    return _mapping(events, depth)


def _items(events: Iterator[Any], depth: int) -> Iterator[object]:
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        yield _node(event, events, depth - 1)


def _mapping(events: Iterator[Any], depth: int) -> dict[str, object]:
    data: dict[str, object] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _node(event, events, 0)
        if not isinstance(key, str):
            raise WorkflowError(f"{_line(event)} has a key {key!r} that is no text; put it in quotes")
        if key in data:
            raise WorkflowError(f"{_line(event)} has the key {key!r} a second time; keep one")
        data[key] = _node(next(events), events, depth - 1)
    return data


def _scalar(event: Any) -> object:
    text: str = event.value
    plain, quoted = event.implicit
    if not plain and not quoted:
        raise WorkflowError(f"{_line(event)} has a tag {event.tag!r}; write the plain value")
    if not plain:
        return text
    if text in _NULLS:
        return None
    value = _plain(text)
    if value is None:
        raise WorkflowError(f"{_line(event)}: {_doubtful(text)}")
    return value


def _plain(text: str) -> str | bool | int | float | None:
    """What a text without quotes is; None where that is doubtful."""
    if not text:
        return text
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]
    return text if tag == "str" else _typed(text, tag)


def _doubtful(text: str) -> str:
    return f"is {text[:40]!r} a text? Put it in quotes; write numbers plainly"


def _typed(text: str, tag: str) -> bool | int | float | None:
    """A truth or a number; None for what YAML 1.1 takes for one and few would, as `no`, `1:30` or `0o7`."""
    if tag == "bool":
        return _TRUTHS.get(text)
    if tag == "int" and _INTEGER.fullmatch(text):
        return None if re.match(r"[-+]?0\d", text) else int(text)
    if tag == "float" and _FLOAT.fullmatch(text):
        return float(text)
    return None


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"
