"""Conditions: comparisons of variables, numbers and texts, joined by `and`, `or`, `not`. No calls.

The language is a part of Python's, so that conditions of the DM system hold: `"$count" == "$wanted"`,
`not "mda" in "$filePath"`. Python's parser reads it; what is evaluated is a list of nodes, and no other.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apsdm_bluesky.errors import WorkflowError

from ._definition import Value, Variable
from ._variables import REFERENCE, UNKNOWN, names_in, substitute

_MAX_LENGTH = 1_000  # characters
_MAX_DEPTH = 30
_HELP = "write comparisons of $variables, numbers and quoted texts, joined by and, or, not"
_PIECE = re.compile(rf"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|{REFERENCE}""")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
_WORDS = {"True": True, "False": False}
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """What stands in the places of a condition, by the Python name that the parser saw there."""

    variables: dict[str, str]
    texts: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that was parsed.

    Parameters
    ----------
    text
        As it was written.
    names
        Its variables, each once.
    """

    text: str
    names: tuple[str, ...]
    _tree: ast.expr
    _places: "_Places"

    def holds(self, values: Mapping[str, Variable]) -> bool:
        """Whether it is true.

        A text is compared as a number where the other side is one.

        Raises
        ------
        WorkflowError
            A variable is not known, or what is compared has no order or no truth.
        """
        return _truth(_value(self._tree, self._places, values))


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises
    ------
    WorkflowError
        It is too long, too deep, or has anything in it but what the language has.
    """
    if len(text) > _MAX_LENGTH:
        raise WorkflowError(f"has {len(text)} characters: a condition has at most {_MAX_LENGTH}")
    source, places = _placed(text.strip())
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WorkflowError(f"{text!r} is no condition: {_HELP}") from error
    _check(tree, places)
    inside = (name for template in places.texts.values() for name in names_in(template))
    names = tuple(dict.fromkeys([*places.variables.values(), *inside]))
    return Condition(text=text, names=names, _tree=tree, _places=places)


def _placed(text: str) -> tuple[str, _Places]:
    """`text` with a Python name for each variable and each quoted text: the parser sees no other."""
    prefix = "v"
    while prefix in text:
        prefix += "v"
    places = _Places(variables={}, texts={})

    def placed(match: re.Match[str]) -> str:
        place = f"{prefix}{len(places.variables) + len(places.texts)}"
        if match["text"]:
            places.texts[place] = _ESCAPE.sub(r"\1", match["text"][1:-1])
        elif name := match["braced"] or match["plain"]:
            places.variables[place] = name
        else:
            raise WorkflowError(f"{text!r} has a $ that names no variable: {_HELP}")
        return f" {place} "

    return _PIECE.sub(placed, text).strip(), places


def _check(tree: ast.expr, places: _Places) -> None:
    """Refuse what may not be there."""
    layer = [tree]
    for _ in range(_MAX_DEPTH):
        layer = [inner for node in layer for inner in _inner(node, places)]
        if not layer:
            return
    raise WorkflowError(f"is nested more than {_MAX_DEPTH} deep: split it over stages")


def _inner(node: ast.expr, places: _Places) -> list[ast.expr]:
    match node:
        case ast.BoolOp(values=values):
            return values
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=others, ops=ops) if all(_is_known(op) for op in ops):
            return [left, *others]
        case ast.Name(id=name):
            if name in places.variables or name in places.texts:
                return []
            raise WorkflowError(f"{name!r} is neither a variable nor a text: write ${name} or quotes")
    if _constant(node) is None:
        raise WorkflowError(f"has a {type(node).__name__} in it: {_HELP}")
    return []


def _constant(node: ast.expr) -> int | float | None:
    """A number, with or without a sign, or a truth."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
    return None


def _is_known(op: ast.cmpop) -> bool:
    return isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) or type(op) in _ORDERS


def _value(node: ast.expr, places: _Places, values: Mapping[str, Variable]) -> Variable:
    """What a node is; only nodes that were checked come here."""
    match node:
        case ast.BoolOp(op=op, values=parts):
            truths = (_truth(_value(part, places, values)) for part in parts)
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(_value(operand, places, values))
        case ast.Compare():
            return _compare(node, places, values)
        case ast.Name(id=place) if place in places.texts:
            return substitute(places.texts[place], values)
        case ast.Name(id=place):
            return _variable(places.variables[place], values)
    number = _constant(node)
    if number is None:
        raise WorkflowError(f"has a {type(node).__name__} in it: {_HELP}")
    return number


def _variable(name: str, values: Mapping[str, Variable]) -> Variable:
    if name not in values:
        raise WorkflowError(UNKNOWN.format(name=name))
    value = values[name]
    return tuple(value) if isinstance(value, list) else value


def _compare(node: ast.Compare, places: _Places, values: Mapping[str, Variable]) -> bool:
    left = _value(node.left, places, values)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _value(other, places, values)
        if not _holds(op, left, right):
            return False
        left = right
    return True


def _holds(op: ast.cmpop, left: Variable, right: Variable) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        return _is_in(left, right) is isinstance(op, ast.In)
    a, b = _alike(left, right)
    if isinstance(op, ast.Eq | ast.NotEq):
        return (a == b) is isinstance(op, ast.Eq)
    try:
        return bool(_ORDERS[type(op)](a, b))
    except TypeError as error:
        raise WorkflowError(
            f"{left!r} and {right!r} have no order: compare two numbers or two texts"
        ) from error


def _is_in(item: Variable, whole: Variable) -> bool:
    if isinstance(whole, tuple):
        return any(a == b for a, b in (_alike(item, other) for other in whole))
    if isinstance(item, str) and isinstance(whole, str):
        return item in whole
    raise WorkflowError(f"{item!r} cannot be in {whole!r}: look for a text in a text or in a list")


def _alike(left: Variable, right: Variable) -> tuple[Variable, Variable]:
    """Both sides, a text read as a number or truth where the other side is one."""
    return _as(left, right), _as(right, left)


def _as(value: Variable, other: Variable) -> Variable:
    if not isinstance(value, str) or isinstance(other, str | tuple):
        return value
    if isinstance(other, bool):
        return _WORDS.get(value, value)
    return value if _NUMBER.fullmatch(value.strip()) is None else _number(value)


def _number(text: str) -> Value:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _truth(value: Variable) -> bool:
    """A text has no truth of its own, but for `True` and `False`: "0" and "no" would be true."""
    if isinstance(value, bool | int | float):
        return bool(value)
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    raise WorkflowError(f"{value!r} is neither true nor false: compare it with something")
