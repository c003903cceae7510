"""Every row of the table of faults has its tests, and the table names them."""

import re
from pathlib import Path

import tests.archive.faults

ROWS = range(1, 29)
_MARKED = re.compile(r"^@pytest\.mark\.fault\((\d+)\)\n(?:(?!def )[^\n]*\n)*?def (test_\w+)\(", re.MULTILINE)
_TOLD = re.compile(r"^(\d+) .*?(test_\w+)\n((?: {4,}.*?test_\w+\n)*)", re.MULTILINE)


def marked() -> set[tuple[int, str]]:
    """Each row with each test that is marked for it."""
    files = Path(__file__).parents[2].rglob("test_*.py")
    return {(int(row), name) for path in files for row, name in _MARKED.findall(path.read_text())}


def told() -> set[tuple[int, str]]:
    """The same, as the package's docstring tells it."""
    return {
        (int(row), name)
        for row, first, more in _TOLD.findall(tests.archive.faults.__doc__)
        for name in (first, *re.findall(r"test_\w+", more))
    }


def test_every_row_has_a_test():
    assert {row for row, _ in marked()} == set(ROWS)


def test_the_table_names_them():
    assert told() == marked()
