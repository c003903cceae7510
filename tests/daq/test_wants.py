"""Patterns of files that are wanted."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.daq._wants import Wants, check_pattern, matches
from apsdm_bluesky.errors import ConfigError

PARTS = st.text("ab.*?[]!-", min_size=1, max_size=4).filter(lambda part: part not in (".", ".."))
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(PATHS, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.h5", "x.h5", True),
        ("*.h5", "dir1/sample123/x.h5", True),
        ("*.h5", "x.H5", False),
        ("dir1/sample123/*.h5", "dir1/sample123/x.h5", True),
        ("dir1/sample123/*.h5", "dir1/sample123/deeper/x.h5", True),
        ("dir1/sample123/*.h5", "dir2/sample123/x.h5", False),
        ("dir1/*", "other/dir1/x.h5", False),
        ("*/dir1/*", "other/dir1/x.h5", True),
        ("scan_[0-9].bin", "a/scan_7.bin", True),
        ("scan_[!0-9].bin", "a/scan_7.bin", False),
        ("file", "file/below", False),
    ],
)
def test_a_pattern_fits_the_path_or_the_name(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits
    assert Wants(include=(pattern,)).file(name) is fits


def test_exclude_wins_and_holds_for_all_below() -> None:
    wants = Wants(include=("*.h5",), exclude=("bad*", "raw/tmp"))
    assert wants.file("raw/good.h5")
    assert not wants.file("raw/bad.h5")
    assert not wants.file("bad/good.h5")
    assert not wants.file("raw/tmp/deep/good.h5")
    assert not wants.folder("raw/tmp")
    assert not wants.folder("raw/tmp/deep")
    assert wants.folder("raw/temp")


def test_hidden_is_what_has_a_part_that_begins_with_a_dot() -> None:
    for name in (".x", "a/.x", ".a/x", "a/.b/c/x"):
        assert not Wants().file(name)
        assert not Wants().folder(name)
        assert Wants(hidden=True).file(name)
        assert Wants(hidden=True).folder(name)
    assert Wants().file("a.b/c.d")


def test_folders_that_no_pattern_leads_to_need_no_look() -> None:
    wants = Wants(include=("raw/2026/*.h5", "other/x.bin"))
    assert [
        each
        for each in ("raw", "raw/2026", "raw/2026/deeper", "other", "raw/2025", "rawer", "x")
        if wants.folder(each)
    ] == ["raw", "raw/2026", "raw/2026/deeper", "other"]
    assert Wants(include=("raw/*", "*.h5")).folder("x")
    assert Wants(include=("*/x.h5",)).folder("x")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "give 1 to 1000 characters"),
        ("x" * 1001, "give 1 to 1000 characters"),
        ("a\nb", "control character"),
        ("/data/*.h5", "is absolute"),
        ("../*.h5", "leads out of the folder"),
        ("raw/../*.h5", "leads out of the folder"),
        ("raw/", "give 'raw/\\*'"),
        ("./x.h5", "no path has"),
        ("raw//x.h5", "no path has"),
    ],
)
def test_what_can_be_no_pattern_is_refused(pattern: str, reason: str) -> None:
    for make in (lambda: Wants(include=(pattern,)), lambda: Wants(exclude=("*.h5", pattern))):
        with pytest.raises(ConfigError, match=reason):
            make()
    with pytest.raises(ConfigError):
        check_pattern(pattern)


def plainly(include: tuple[str, ...], exclude: tuple[str, ...], hidden: bool, name: str) -> bool:
    """The rule as it is told, without a short cut."""
    parts = name.split("/")
    ways = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    if not hidden and any(part.startswith(".") for part in parts):
        return False
    if any(_fits(pattern, way) for pattern in exclude for way in ways):
        return False
    return not include or any(_fits(pattern, name) for pattern in include)


def _fits(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


@given(PATTERNS, PATTERNS, st.booleans(), PATHS)
def test_is_the_plain_rule(
    include: tuple[str, ...], exclude: tuple[str, ...], hidden: bool, name: str
) -> None:
    assert Wants(include, exclude, hidden).file(name) is plainly(include, exclude, hidden, name)


@given(PATTERNS, PATTERNS, st.booleans(), PATHS)
def test_what_is_wanted_lies_in_folders_that_are(
    include: tuple[str, ...], exclude: tuple[str, ...], hidden: bool, name: str
) -> None:
    wants = Wants(include, exclude, hidden)
    parts = name.split("/")
    if wants.file(name):
        assert all(wants.folder("/".join(parts[:count])) for count in range(1, len(parts)))
