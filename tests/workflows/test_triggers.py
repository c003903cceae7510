"""Rules: which runs they apply to, what their jobs are given, and metadata that may be anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apsdm_bluesky.config import BeamlineConfig, TriggerConfig, load_config
from apsdm_bluesky.errors import ConfigError, WorkflowError
from apsdm_bluesky.workflows import (
    check_rules,
    frames_lost,
    may_apply,
    rule_arguments,
    rules_of,
    rules_to_note,
    run_variables,
    why_not,
)

from .samples import HOSTILE

START = {
    "uid": "u1",
    "time": 1.5,
    "scan_id": 7,
    "plan_name": "xpcs_series",
    "detectors": ["lambda2m"],
    "sample": {"name": "silica", "size": {"nm": 95.5}, "old-name": "Si"},
    "ready": True,
}
STOP = {"uid": "s1", "run_start": "u1", "exit_status": "success", "reason": "20 of 20 frames"}


def rule(**more):
    return TriggerConfig.model_validate({"name": "r", "workflow": "sum", **more})


def verdict(*, start=START, stop=STOP, lost=0, **more):
    return why_not(rule(**more), start, stop, lost=lost)


# -- which runs --


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"plan": "xpcs_series"},
        {"plan": ["count", "xpcs_*"]},
        {"exit_status": ["abort", "success"]},
        {"when": "$scan_id >= 7 and $sample_name == 'silica'"},
        {"when": "'lambda2m' in $detectors and $ready and $sample_size_nm < 100"},
        {"when": "$exit_status == 'success' and $sample_old_name == 'Si'"},
        {"loss": "none"},
        {"loss": "any"},
    ],
)
def test_a_rule_applies(more):
    assert verdict(**more) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"plan": "count"}, "another plan"),
        ({"plan": "XPCS_*"}, "another plan"),
        ({"exit_status": "abort"}, "exit status is 'success'"),
        ({"when": "$scan_id > 7"}, "does not hold"),
        ({"loss": "some"}, "0 frames were lost"),
        ({"loss": "none", "lost": 3}, "3 frames were lost"),
        ({"loss": "none", "lost": None}, "no ledger"),
        ({"loss": "some", "lost": None}, "no ledger"),
        ({"start": {**START, "raw_uid": "r"}}, "analysis"),
        ({"stop": {"uid": "s"}}, "exit status is None"),
    ],
)
def test_a_rule_does_not_apply_and_says_why(more, told):
    assert told in verdict(**more)


def test_a_run_that_lost_frames():
    assert verdict(loss="some", lost=1) == ""


def test_an_analysis_triggers_where_it_is_wanted_and_can_be_told_apart():
    analysis = {"uid": "a", "time": 1.0, "raw_uid": "u1"}
    only = {"analysis": True, "when": '$raw_uid != ""'}
    assert verdict(start=analysis, **only) == ""
    assert "does not hold" in verdict(**only)
    assert "another plan" in verdict(start=analysis, analysis=True, plan="xpcs_*")


@pytest.mark.parametrize("when", ["$nobody == 1", "$detectors < 5", "$sample_name"])
def test_a_condition_that_cannot_be_judged_is_told(when):
    with pytest.raises(WorkflowError):
        verdict(when=when)


# -- what its job is given --


def test_arguments_are_texts_with_variables_and_one_variable_keeps_its_type():
    arguments = {
        "file": "/data/$sample_name/${scan_id}.h5",
        "scan": "$scan_id",
        "size": "${sample_size_nm}",
        "detectors": "$detectors",
        "price": "$$5",
        "count": 4,
        "live": True,
    }
    assert rule_arguments(rule(arguments=arguments), START, STOP) == {
        "file": "/data/silica/7.h5",
        "scan": 7,
        "size": 95.5,
        "detectors": ("lambda2m",),
        "price": "$5",
        "count": 4,
        "live": True,
    }


@pytest.mark.parametrize(
    ("value", "told"),
    [("a\0b", "NUL"), ("\ud800", "surrogate"), ("x" * 200_000, "bytes"), (["ok", "a\0b"], "NUL")],
)
@pytest.mark.parametrize("template", ["$bad", "in $bad"])
def test_an_argument_that_nothing_can_hold_is_refused_by_its_name(template, value, told):
    with pytest.raises(WorkflowError, match="argument where: ") as caught:
        rule_arguments(rule(arguments={"where": template}), {**START, "bad": value}, STOP)
    assert told in str(caught.value) or "is a list" in str(caught.value)


def test_an_unknown_variable_of_an_argument_is_told():
    with pytest.raises(WorkflowError, match=r"argument a: the run has no variable \$nobody"):
        rule_arguments(rule(arguments={"a": "$nobody"}), START, STOP)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_never_read_as_a_template(value):
    start = {**START, "title": value}
    given_ = rule_arguments(rule(arguments={"a": "$title", "b": "<$title>"}), start, STOP)
    assert given_ == {"a": value, "b": f"<{value}>"}


# -- variables --


def test_the_less_deep_of_two_names_counts_then_the_first():
    start = {"a": {"b": {"c": 3}, "b_c": 2}, "a_b_c": 1, "x y": 1, "x.y": 2, "exit_status": "forged"}
    found = run_variables(start, STOP)
    assert (found["a_b_c"], found["x_y"], found["exit_status"]) == (1, 1, "success")


def test_what_no_variable_can_be_is_left_out():
    start = {"none": None, "odd": object(), "2theta": 1, "": 2, "big": 10**400, "mixed": [1, {}]}
    assert run_variables(start, {}) == {"exit_status": "", "raw_uid": ""}


def test_what_is_no_finite_number_is_a_text():
    assert run_variables({"rate": float("nan")}, STOP)["rate"] == "nan"


def test_huge_and_deep_metadata_give_no_more_than_a_thousand_variables():
    deep: dict = {}
    inner = deep
    for _ in range(5_000):
        inner["k"] = {}
        inner = inner["k"]
    wide = {f"k{i}": i for i in range(100_000)}
    found = run_variables({"uid": "u1", "deep": deep, "wide": wide, "many": list(range(100_000))}, STOP)
    assert found["uid"] == "u1"
    assert "many" not in found
    assert 900 < len(found) <= 1_001


METADATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(HOSTILE),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "plan_name", "raw_uid", "é", "x-y"]), METADATA))
def test_any_metadata_survives(metadata):
    """A rule applies or not, or a `WorkflowError` tells why it cannot be judged; nothing else is raised."""
    wanted = rule(
        when="$a == 1 or $b < 2", arguments={"a": "$a", "b": "-$b"}, analysis=True, plan=["*", "[x"]
    )
    rules_to_note([wanted], metadata)
    variables = run_variables(metadata, STOP)
    json.dumps(variables, allow_nan=False)
    try:
        why_not(wanted, metadata, STOP, lost=None)
        given_ = rule_arguments(wanted, metadata, STOP)
    except WorkflowError:
        return
    assert set(given_) == {"a", "b"}


# -- the note --


def test_the_note_gives_the_rules_of_the_run_back():
    rules = [rule(name="a", plan="xpcs_*", arguments={"n": 1, "t": "$uid"}), rule(name="b", plan="count")]
    note = json.loads(json.dumps({"rules": rules_to_note(rules, START)}))
    assert rules_of(note) == [rules[0]]
    assert may_apply(rules[0], START)


@pytest.mark.parametrize(
    "note", [None, [], "x", {}, {"rules": 1}, {"rules": [{"name": "a"}]}, {"rules": [[]]}]
)
def test_a_note_that_is_none_is_told(note):
    with pytest.raises(WorkflowError, match="its rules cannot be read"):
        rules_of(note)


# -- lost frames --


def ledger(stream="ledger", **data):
    return [
        ("start", START),
        ("descriptor", {"uid": "d", "name": stream}),
        ("event", {"descriptor": "d", "data": data}),
        ("stop", STOP),
    ]


@pytest.mark.parametrize(
    ("documents", "lost"),
    [
        (ledger(det_missing=2, det_corrupt=1, det_storage_dropped=4, det_stale=9), 7),
        (ledger(missing=0, corrupt=0, dropped=3, reason="late"), 3),
        (ledger(det_missing=0, det_corrupt=0, det_storage_dropped=0), 0),
        (ledger("primary", det_missing=5), None),
        (ledger(det_missing="many"), 0),
        ([("start", START), ("stop", STOP)], None),
        ([*ledger()[:2], ("event", {"descriptor": "d", "data": None})], None),
        ([*ledger(missing=2), ("event", {"descriptor": "d", "data": [1]})], 2),
        ([("descriptor", {"uid": ["d"], "name": "ledger"}), ("event", {"descriptor": {}})], None),
    ],
)
def test_lost_frames_are_those_of_the_ledger(documents, lost):
    assert frames_lost(documents) == lost


# -- the configuration --


def test_rules_are_read_from_a_file(tmp_path):
    (tmp_path / "beamline.yml").write_text(
        "workflows:\n  triggers:\n  - {name: sums, workflow: staff/sum, plan: count, arguments: {n: 3}}\n"
    )
    (found,) = load_config(tmp_path / "beamline.yml").workflows.triggers
    assert (found.plan, found.exit_status, found.arguments) == (("count",), ("success",), {"n": 3})


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([{"name": "a", "workflow": "w"}] * 2, "2 rules have the name 'a'"),
        ([{"name": "a/b", "workflow": "w"}], "name"),
        ([{"name": "a", "workflow": "a/b/c"}], "workflow"),
        ([{"name": "a", "workflow": "w", "plan": []}], "plan"),
        ([{"name": "a", "workflow": "w", "exit_status": "done"}], "exit_status"),
        ([{"name": "a", "workflow": "w", "loss": "few"}], "loss"),
        ([{"name": "a", "workflow": "w", "arguments": {"a-b": "1"}}], "arguments"),
    ],
)
def test_rules_that_are_none_are_refused(rules, told):
    with pytest.raises(ValidationError, match=told):
        BeamlineConfig.model_validate({"workflows": {"triggers": rules}})


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"when": "open('x')"}, "when"),
        ({"when": "$a =="}, "when"),
        ({"arguments": {"a": "${"}}, "arguments.a"),
    ],
)
def test_a_condition_or_argument_that_cannot_be_read_is_told_with_its_rule(more, key):
    with pytest.raises(ConfigError, match=f"workflows.triggers: r: {key}: "):
        check_rules([rule(**more)])


def test_rules_that_can_be_read_pass_the_check():
    check_rules([rule(when="$scan_id == 7", arguments={"a": "$uid", "n": 1})])
