"""Variables in commands: whatever a value holds, it stays in its place."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import argument_list, names_in, shell_list, substitute, working_folder

from .samples import HOSTILE


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_command_has_as_many_arguments_as_its_template(value):
    values = {"x": value, "y": 2.5}
    assert argument_list("program $x '$x y' --to=${x} $y", values) == (
        "program",
        value,
        f"{value} y",
        f"--to={value}",
        "2.5",
    )


@pytest.mark.parametrize("value", HOSTILE)
def test_a_program_gets_its_arguments_as_they_are(value):
    show = "import sys; sys.stdout.buffer.write(chr(10).join(sys.argv[1:]).encode())"
    arguments = argument_list(
        "$python -c $show $x 'a $x'", {"python": sys.executable, "show": show, "x": value}
    )
    done = subprocess.run(arguments, capture_output=True, check=True, timeout=20)
    assert done.stdout.decode() == f"{value}\na {value}"


def test_a_value_is_not_substituted_again():
    assert substitute("$a $b", {"a": "$b", "b": "${a}"}) == "$b ${a}"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$$x", "$x"),
        ("$$$x", "$1"),
        ("awk $1 $", "awk $1 $"),
        ("$x.h5", "1.h5"),
        ("${x}y", "1y"),
        ("a$(b)", "a$(b)"),
    ],
)
def test_dollars(template, text):
    assert substitute(template, {"x": 1}) == text


def test_names_stand_in_their_order():
    assert names_in("$b ${a} $$c $b '$d'") == ("b", "a", "d")


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("echo $x", {}, r"variable \$x is not known"),
        ("echo $x", {"x": "a\0b"}, "NUL"),
        ("echo a\0b", {}, "NUL"),
        ("echo $x", {"x": "\ud800"}, "half a character"),
        ("echo $x", {"x": ("a", "b")}, "is a list"),
        ("echo $x", {"x": "a" * 200_000}, "bytes"),
        ("a" * 100_000, {}, "characters"),
        ("echo ${x", {"x": 1}, "names no variable"),
        ("echo ${x:-1}", {"x": 1}, "names no variable"),
        ("echo ${}", {}, "names no variable"),
        ("echo ${é}", {"é": 1}, "names no variable"),
        ("", {}, "empty"),
        (" \n", {}, "empty"),
    ],
)
@pytest.mark.parametrize("command", [argument_list, shell_list])
def test_what_cannot_be_put_in_is_refused_in_one_line(command, template, values, message):
    with pytest.raises(WorkflowError, match=message) as refusal:
        command(template, values)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("echo 'a", "No closing quotation"),
        ("echo a \\\n b", "backslash"),
        ("echo a\\", "No escaped"),
        ("$x", "empty"),
        ("echo " + "$y" * 100, "bytes"),
    ],
)
def test_a_command_that_cannot_be_split_is_refused(template, message):
    with pytest.raises(WorkflowError, match=message):
        argument_list(template, {"x": "", "y": "a" * 10_000})


BASE = Path("/jobs/7")


@pytest.mark.parametrize(
    ("template", "value", "folder"),
    [
        ("data/$x", "a b", "/jobs/7/data/a b"),
        ("data/$x", "/etc", "/jobs/7/data/etc"),
        ("$x", "/experiments/one", "/experiments/one"),
        ("/beamline/$x", "one", "/beamline/one"),
        ("$x", "..a", "/jobs/7/..a"),
    ],
)
def test_a_working_folder(template, value, folder):
    found = working_folder(template, {"x": value}, base=BASE, allowed=[Path("/experiments")])
    assert found == Path(folder)


@pytest.mark.parametrize(
    ("template", "value", "message"),
    [
        ("$x", "/etc", "outside"),
        ("$x", "//etc", "outside"),
        ("$x", "/jobs/70", "outside"),
        ("$x", "..", "leads up"),
        ("data/$x", "../../../etc", "leads up"),
        ("data/$x", "a/../b", "leads up"),
        ("/experiments/$x", "../etc", "leads up"),
        (".$x", "./a", "leads up"),
        ("$x", "", "empty"),
        ("$x", "a\0b", "NUL"),
    ],
)
def test_no_value_leads_a_working_folder_astray(template, value, message):
    with pytest.raises(WorkflowError, match=message):
        working_folder(template, {"x": value}, base=BASE, allowed=[Path("/experiments")])
