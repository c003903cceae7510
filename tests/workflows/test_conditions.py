"""Conditions: what holds, and what is no condition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import parse_condition

from .samples import HOSTILE

VALUES = {
    "n": 5,
    "found": "5",
    "rate": "2.5e-3",
    "path": "/data/scan_12.mda",
    "flag": True,
    "said": "False",
    "kinds": ("Multitau", "Twotime"),
    "numbers": ["1", 2],
    "empty": "",
}


@pytest.mark.parametrize(
    "text",
    [
        "$n == 5",
        "$found == 5",
        "$found > 4.5 and $found <= 5",
        "4 < $found < 6",
        "$n == $found",
        '"$n" == "$found"',
        '"$n" == "5"',
        '"mda" in "$path"',
        'not "hdf" in "$path"',
        '"hdf" not in $path',
        "$rate < 1",
        "$rate == .0025",
        "$flag",
        "not $said",
        "$said == False",
        '"Twotime" in $kinds',
        '"Both" not in $kinds',
        "1 in $numbers and 2 in $numbers",
        "'' == $empty",
        '$path != "a \\" b"',
        "(($n))",
        "1 == 2 or not (1 == 2)",
        "$n == 5 or $missing == 1",
        '"$$n" == "$$n"',
    ],
)
def test_what_holds(text):
    assert parse_condition(text).holds(VALUES) is True


@pytest.mark.parametrize(
    "text",
    [
        "$n != 5",
        "$found < 5",
        '"5.0" == "$n"',
        "$path == 5",
        "not $flag",
        "$empty == 0",
        "5 < $n < 6",
        "0",
        "1 == True and $n == 6",
    ],
)
def test_what_does_not_hold(text):
    assert parse_condition(text).holds(VALUES) is False


def test_variables_are_told():
    assert parse_condition('$b == "$a/${c}" and $b != 1').names == ("b", "a", "c")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_value_is_never_parsed(value):
    values = {"x": value, "y": value, "z": value + "a"}
    assert parse_condition("\"$x\" == '$y' and $x == $y").holds(values)
    assert not parse_condition("\"$x\" == '$z' or $x == $z").holds(values)


@pytest.mark.parametrize("value", [*HOSTILE, "1 or 1 == 1", '" or "" == "', "__import__('os').abort()"])
def test_a_hostile_value_is_a_text(value):
    assert parse_condition('"$x" == "a"').holds({"x": value}) is False
    assert parse_condition("$x == 'a'").holds({"x": value}) is False


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch owned')",
        "print()",
        "$x.real == 1",
        "$x[0] == 1",
        "[1, 2] == 1",
        "{1: 2} == 1",
        "lambda: 1",
        "(y := 5) == 5",
        "[y for y in $x] == 1",
        "f'$x' == 1",
        "b'a' == 1",
        "$x if $x else 1",
        "9**9**9 == 1",
        "1 + 1 == 2",
        "~1 == 1",
        "$x is 1",
        "1j == 1",
        "None == 1",
        "... == 1",
        "x == 1",
        "v0 == $x",
        "vv0 == $x",
        "True.real",
        "",
        " ",
        "$x ==",
        "== 1",
        "$x = 1",
        "1; 2",
        "1\n2",
        "$ == 1",
        "$$ == 1",
        "${x == 1",
        "'$x == 1",
        "\0",
        "\ud800 == 1",
        "(" * 500 + "1" + ")" * 500,
        "not " * 200 + "True",
        "(" * 90 + "not True" + ")" * 90 + " == 1" * 50 + "a" * 800,
        " and ".join(["(True"] * 40) + ")" * 40 + " or 1 == 1",
        "1 == " + "9" * 5000,
        "a" * 10_000,
        "-" * 500 + "1",
        "await $x",
        "yield",
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text, recwarn):
    with pytest.raises(WorkflowError) as refusal:
        parse_condition(text)
    assert "\n" not in str(refusal.value)
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$missing == 1", r"\$missing is not known"),
        ('"$missing" == "1"', r"\$missing is not known"),
        ("$path", "neither true nor false"),
        ("'0'", "neither true nor false"),
        ("not $kinds", "neither true nor false"),
        ("$path < 1", "no order"),
        ("$kinds < 1", "no order"),
        ("1 in $n", "cannot be in"),
        ("1 in $path", "cannot be in"),
        ('"$kinds" == ""', "is a list"),
    ],
)
def test_what_cannot_be_decided_is_told(text, message):
    condition = parse_condition(text)
    with pytest.raises(WorkflowError, match=message):
        condition.holds(VALUES)


@pytest.mark.parametrize("value", ["9" * 5000, "1e9999", "-1e999", "NaN", "inf", "١٢", "1_0", "0x10"])
def test_texts_that_are_hardly_numbers(value):
    assert parse_condition("$x == 10 or $x == 12 or $x == 16").holds({"x": value}) is False
