"""The pages of the documentation, their code blocks and tables."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced code block. `info` is what follows the opening fence, for instance 'python shell'."""

    page: str
    line: int
    info: str
    code: str

    def __str__(self):
        return f"{self.page}:{self.line}"


@cache
def pages():
    """Every page, by its path from the root of the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(found)}


def blocks(*infos):
    """The code blocks of all pages whose info is one of `infos`."""
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            info=match["info"].strip(),
            code=match["code"],
        )
        for page, text in pages().items()
        for match in _FENCE.finditer(text)
        if not infos or match["info"].strip() in infos
    ]


def commands(block):
    """The commands of a console block: its lines after '$ ', or all lines where none has it."""
    lines = block.code.splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines


def table(text, *, first="`"):
    """Rows of the tables in `text` whose first cell begins with `first`, as lists of stripped cells."""
    rows = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in _CELL.split(row)[1:-1]] for row in rows]


def section(page, heading):
    """The text under a heading, up to the next of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = pages()[page].partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def prose(text):
    """Without the code blocks."""
    return _FENCE.sub("", text)


def code(text):
    """Every `code` in a table's cell or in prose."""
    return re.findall(r"`([^`]+)`", text)
