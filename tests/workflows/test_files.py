"""Workflow files of ours: what is read is what stands there, and what is written reads the same."""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import (
    Parallel,
    Repeat,
    Retries,
    Stage,
    Workflow,
    format_value,
    format_workflow,
    load_workflow,
    parse_value,
    parse_workflow,
    read_dm,
)

from .samples import DM_EXAMPLE, values, workflows

WHOLE = """
name: reduce
owner: staff
version: 3
description: "Reduce, then wait"
user_account: beam
arguments:
  file:
  bins: [1, 2.5, wide, true]
  kind: Multitau
stages:
  - name: reduce
    command: reduce $file --kind=$kind
    outputs:
      - 'Result: (?P<result>.*)'
    working_folder: results
    run_if: $kind == "Multitau"
    timeout_s: 60
    retries: {count: 3, delay_s: 1, factor: 3, longest_s: 20.5}
    where: polaris
  - name: wait
    command: test -e $result | cat
    shell: true
    repeat: {period_s: 0.5, until: $done == 1, maximum: 10}
  - name: each
    call: beamline.tools:export
    parallel: {over: $bins, variable: bin, limit: 4}
"""
HEAD = "name: a\nowner: b\n"


def test_every_key_is_read():
    assert parse_workflow(WHOLE) == Workflow(
        name="reduce",
        owner="staff",
        version=3,
        description="Reduce, then wait",
        user_account="beam",
        arguments={"file": None, "bins": (1, 2.5, "wide", True), "kind": "Multitau"},
        stages=(
            Stage(
                name="reduce",
                command="reduce $file --kind=$kind",
                outputs=("Result: (?P<result>.*)",),
                working_folder="results",
                run_if='$kind == "Multitau"',
                timeout_s=60.0,
                retries=Retries(count=3, delay_s=1.0, factor=3.0, longest_s=20.5),
                where="polaris",
            ),
            Stage(
                name="wait",
                command="test -e $result | cat",
                shell=True,
                repeat=Repeat(period_s=0.5, until="$done == 1", maximum=10),
            ),
            Stage(
                name="each",
                call="beamline.tools:export",
                parallel=Parallel(over="$bins", variable="bin", limit=4),
            ),
        ),
    )


@given(workflows)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
def test_what_is_written_reads_the_same(workflow):
    assert parse_workflow(format_workflow(workflow)) == workflow


def test_a_dm_definition_survives_our_file():
    workflow = read_dm(DM_EXAMPLE)
    assert parse_workflow(format_workflow(workflow)) == workflow


def test_what_holds_by_default_is_not_written():
    text = format_workflow(Workflow(name="a", owner="b", stages=(Stage(name="01", command="date"),)))
    assert text == "name: a\nowner: b\nstages:\n- name: '01'\n  command: date\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "colour: red\n", r"flow.yml: key 'colour': is unknown; allowed are name, owner"),
        ("name: a\n", "flow.yml: key 'owner': is missing"),
        ("owner: a\n", "flow.yml: key 'name': is missing"),
        (HEAD + "version: one\n", "key 'version': is 'one'; give a whole number"),
        (HEAD + "version: true\n", "key 'version': is True"),
        (HEAD + "version: 1.5\n", "key 'version': is 1.5"),
        (HEAD + "stages: none\n", "key 'stages': is 'none'; give a list of stages"),
        (HEAD + "stages: [a]\n", "stage number 1, is 'a'; give a mapping"),
        (HEAD + "stages: [{command: date}]\n", "stage number 1, key 'name': is missing"),
        (HEAD + "stages: [{name: x, comand: date}]\n", "stage 'x', key 'comand': is unknown"),
        (HEAD + "stages: [{name: x, command: [date]}]\n", "stage 'x', key 'command': is list; give a text"),
        (HEAD + "stages: [{name: x, command: 5}]\n", "stage 'x', key 'command': is 5; give a text"),
        (
            HEAD + "stages: [{name: x, shell: 'yes'}]\n",
            "stage 'x', key 'shell': is 'yes'; give true or false",
        ),
        (
            HEAD + "stages: [{name: x, outputs: a}]\n",
            "stage 'x', key 'outputs': is 'a'; give a list of texts",
        ),
        (
            HEAD + "stages: [{name: x, timeout_s: long}]\n",
            "stage 'x', key 'timeout_s': is 'long'; give a number",
        ),
        (
            HEAD + "stages: [{name: x, repeat: {period_s: 1, until: a}}]\n",
            "stage 'x', key 'repeat', key 'maximum': is missing",
        ),
        (
            HEAD + "stages: [{name: x, repeat: {period: 1}}]\n",
            "stage 'x', key 'repeat', key 'period': is unknown; allowed are period_s, until, maximum",
        ),
        (HEAD + "arguments: [a]\n", "key 'arguments': is list; give a mapping"),
        (HEAD + "arguments: {a: {b: c}}\n", "key 'arguments', key 'a': is dict"),
        (HEAD + "arguments: {a: [[b]]}\n", "key 'arguments', key 'a': is"),
        (HEAD + "name: c\n", "flow.yml: line 3 has the key 'name' a second time"),
        (HEAD + "stages: [{name: x, name: y}]\n", "line 3 has the key 'name' a second time"),
        (HEAD + "version: 012\n", "line 3: is '012' a text"),
        (HEAD + "version: 1:30\n", "line 3: is '1:30' a text"),
        (HEAD + "version: 0x10\n", "line 3: is '0x10' a text"),
        (HEAD + "version: " + "9" * 5000 + "\n", "line 3: is '9999"),
        (HEAD + "version: 1_0\n", "line 3: is '1_0' a text"),
        (HEAD + "stages: [{name: x, timeout_s: .inf}]\n", "line 3: is '.inf' a text"),
        (HEAD + "stages: [{name: x, timeout_s: 1.0e+999}]\n", "stage 'x', key 'timeout_s': is inf"),
        (HEAD + "stages: [{name: no}]\n", "line 3: is 'no' a text"),
        (HEAD + "stages: [{name: 2026-01-01}]\n", "line 3: is '2026-01-01' a text"),
        (HEAD + "<<: {a: b}\n", "line 3: is '<<' a text"),
        ("name: &a b\nowner: *a\n", "line 1 has an anchor"),
        ("name: a\nowner: *b\n", "line 2 has an anchor or an alias"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "line 1 has an anchor"),
        ("name: !!python/object/apply:os.system ['touch owned']\n", "has a tag"),
        ("name: !!str 5\n", "line 1 has a tag"),
        ("name: !mine a\n", "line 1 has a tag"),
        ("? [a]\n: b\n", "line 1"),
        ("1: b\n", "line 1 has a key 1 that is no text"),
        ("a: " + "[" * 1000 + "]" * 1000, "nested"),
        ("a: " + "{b: " * 1000 + "}" * 1000, "nested"),
        ("", "holds 0 documents"),
        (HEAD + "---\n" + HEAD, "holds 2 documents"),
        ("[a]", "is list; give a mapping"),
        ("text", "is 'text'; give a mapping"),
        ("name: [", "is no YAML"),
        ("name: 'a", "is no YAML"),
        ("name: a\0b", "is no YAML"),
        ("name: \x1b[31m", "is no YAML"),
        ("\tname: a", "is no YAML"),
        ("name: \ud800", "half a character"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text, message):
    with pytest.raises(
        WorkflowError, match=f"^flow.yml: .*{re.escape(message.removeprefix('flow.yml: '))}"
    ) as refusal:
        parse_workflow(text, source="flow.yml")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\xff\xfe", "is no text"), (b"name: \xff", "is no text"), (b"#" * (4 * 2**20 + 1), "is longer than")],
)
def test_files_that_are_no_workflows_are_told(data, message, tmp_path):
    path = tmp_path / "flow.yml"
    path.write_bytes(data)
    with pytest.raises(WorkflowError, match=f"flow.yml: {message}"):
        load_workflow(path)


@pytest.mark.parametrize("name", ["missing.yml", "."])
def test_a_file_that_cannot_be_opened_is_told(name, tmp_path):
    with pytest.raises(WorkflowError, match="give a readable workflow file"):
        load_workflow(tmp_path / name)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "flow.yml"
    path.write_text(WHOLE, encoding="utf-8")
    assert load_workflow(path) == parse_workflow(WHOLE)


def test_what_yaml_cannot_hold_is_not_written():
    with pytest.raises(WorkflowError):
        format_workflow(Workflow(name="a", owner="b", arguments={"x": float("inf")}))
    with pytest.raises(WorkflowError, match="'a\\\\nb'"):
        format_workflow(Workflow(name="a\nb", owner="b", dm={"a": ("t",)}))


def test_the_delay_of_retries_grows_to_its_bound():
    retries = Retries(count=9, delay_s=1.0, factor=10.0, longest_s=50.0)
    assert [retries.delay(attempt) for attempt in (1, 2, 3, 10**6)] == [1.0, 10.0, 50.0, 50.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ("true", True),
        ("False", False),
        ("", ""),
        ("/data/x #1: y", "/data/x #1: y"),
        ("*.h5", "*.h5"),
        (" 5", " 5"),
        ('"5"', "5"),
        ("'no'", "no"),
        ("[]", ()),
        ("[1, 2.5, true, a b, '3']", (1, 2.5, True, "a b", "3")),
    ],
)
def test_a_value_as_a_person_types_it(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


@given(st.one_of(values, st.lists(values, max_size=4).map(tuple)))
@example(("a b", "5", "no", "", "null", "[", "x" * 300))
@example("\u2028\r\n\x85\x1b'\"")
def test_a_value_is_written_as_a_person_types_it(value):
    text = format_value(value)
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no", "is 'no' a text"),
        ("null", "is 'null' a text"),
        ("2026-10-01", "is '2026-10-01' a text"),
        ("1:30", "is '1:30' a text"),
        ("[1, no]", "is 'no' a text"),
        ("[1", "is no YAML"),
        ("[[1]]", "give a text, a number"),
        ("[null]", "give a text, a number"),
        ("'a': 1", "give a text, a number"),
        ('"a" b', "is no YAML"),
        ("[\ud800]", "half a character"),
    ],
)
def test_a_value_that_is_doubtful_is_told(text, why):
    with pytest.raises(WorkflowError, match=why):
        parse_value(text)
