"""Variables found in what a stage printed."""

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import MAX_OUTPUT, find_outputs, output_names


def test_variables_are_found_where_each_expression_first_matches():
    printed = b"Count: 5\nFile: /a b/c.h5\r\nCount: 6\n"
    found = find_outputs([r"Count: (?P<count>\d+)", r"File: (?P<folder>.*)/(?P<file>[^\r\n]*)"], printed)
    assert found == {"count": "5", "folder": "/a b", "file": "c.h5"}


def test_names_stand_in_the_order_of_their_groups():
    assert output_names(r"(?P<z>a)(b)(?P<a>c)") == ("z", "a")


def test_what_only_looks_like_a_group_is_none():
    assert output_names(r"\(?P<a>[(?P<a>]*(?P<a>x)") == ("a",)


def test_an_expression_that_need_not_match_defines_nothing():
    assert find_outputs(["(?P<a>x)", "(?P<b>y)"], b"y", required=False) == {"b": "y"}


def test_a_group_that_took_no_part_defines_nothing():
    assert find_outputs(["(?P<a>x)|(?P<b>y)"], b"y") == {"b": "y"}


def test_an_expression_of_dm_takes_the_first_line():
    assert find_outputs(["(?P<timeStamp>.*)"], b"20260101\nmore\n") == {"timeStamp": "20260101"}


def test_bytes_that_are_no_text_are_marked():
    assert find_outputs(["(?P<a>.*)"], b"caf\xe9\xff") == {"a": "caf\ufffd\ufffd"}


def test_the_end_of_a_long_output_is_searched():
    long = b"early: 1\n" + b"x" * MAX_OUTPUT + b"\nlate: 2\n"
    assert find_outputs([r"late: (?P<late>\d)"], long) == {"late": "2"}
    with pytest.raises(WorkflowError, match=f"last {MAX_OUTPUT} of its {len(long)} bytes"):
        find_outputs([r"early: (?P<early>\d)"], long)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<a>(x+x+)+y)",
        r"(?P<a>(x|x)*)y",
        r"(?P<a>(x*)*)*y",
        r"(?P<a>(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)y)",
        r"^(?P<a>(([a-z])+.)+[A-Z]([a-z])+)$",
        r"(?P<a>(x?){40}x{40}y)",
    ],
)
def test_what_backtracks_for_ever_elsewhere_ends_here(pattern):
    """Without a bound, Python's `re` would not come back from these: the test's time-out is what fails."""
    with pytest.raises(WorkflowError, match="matches nowhere"):
        find_outputs([pattern], b"x" * 100_000)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<a>x", "missing"),
        ("(?P<a>x))", "unexpected"),
        ("(?P<a>x)(?P<a>y)", "names a group twice"),
        (r"(?P<a>x)\1", "back-references"),
        ("(?P<a>x)(?P=a)", "back-references"),
        ("(?P<a>x(?=y))", "look-around"),
        ("(?P<a>(?<!x)y)", "look-around"),
        ("(?P<a>x{99999})", "repetition"),
        ("(?P<a>((x{100}){100}){100})", "repetition|large"),
        ("(?P<a>(x?){1000})", "repeat less"),
        ("(x)", "no named group"),
        ("", "no named group"),
        ("(?P<a b>x)", "named capture group"),
        ("(?P<>x)", "named capture group"),
        ("(?P<a>" + "x" * 5_000 + ")", "characters"),
        ("(?P<a>\ud800)", "no expression"),
        ("(" * 1_500, "missing|nest"),
    ],
)
def test_expressions_that_cannot_be_used_are_refused_in_one_line(pattern, message):
    with pytest.raises(WorkflowError, match=message) as refusal:
        output_names(pattern)
    assert "\n" not in str(refusal.value)


def test_a_variable_has_a_bound():
    with pytest.raises(WorkflowError, match=r"\$a would hold 100000 characters"):
        find_outputs(["(?P<a>x*)"], b"x" * 100_000)
