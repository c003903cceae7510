"""What a task document means, whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.transfer import TaskStatus
from apsdm_bluesky.transfer._globus_verdict import in_trouble, judge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TASK_KEYS = ("nice_status", "nice_status_details", "faults", "fatal_error", "is_paused")
EVENT_KEYS = ("code", "description", "details", "is_error")
TASK = st.fixed_dictionaries(
    {"status": st.sampled_from(["ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED"]) | JSON},
    optional=dict.fromkeys(
        ("nice_status", "nice_status_details", "faults", "fatal_error", "is_paused"), JSON
    ),
)
EVENT = st.fixed_dictionaries({}, optional=dict.fromkeys(EVENT_KEYS, JSON))


@given(TASK, st.lists(EVENT, max_size=3))
def test_no_document_is_too_strange(task, events):
    verdict = judge(task, events)
    assert in_trouble(task) in (True, False)
    assert "\n" not in verdict.detail
    assert (verdict.status is TaskStatus.SUCCEEDED) == (task["status"] == "SUCCEEDED")
    assert (verdict.status is TaskStatus.FAILED) == (task["status"] == "FAILED")


def active(nice="OK", faults=3):
    return {"status": "ACTIVE", "nice_status": nice, "faults": faults}


def event(code, is_error=True):
    return {"code": code, "is_error": is_error, "details": f"about {code}"}


def test_only_what_went_wrong_since_it_got_on_counts():
    over = [event("PROGRESS", is_error=False), event("PERMISSION_DENIED")]
    assert not judge(active(), over).hopeless
    assert judge(active(), [event("CONNECTION_RESET"), event("PERMISSION_DENIED"), *over]).hopeless
    assert not judge(active(), [event("CONNECTION_RESET")]).hopeless


@pytest.mark.parametrize("code", ["FILE_NOT_FOUND", "PERMISSION_DENIED", "QUOTA_EXCEEDED", "NO_SPACE"])
def test_what_needs_a_person(code):
    for verdict in (
        judge(active(nice=code)),
        judge({"status": "FAILED", "fatal_error": {"code": code, "description": "told"}}),
    ):
        assert verdict.needs_person
        assert code in verdict.detail


@pytest.mark.parametrize("code", ["EXPIRED", "CANCELED", "CANCELED_BY_ADMIN", "INTERNAL_ERROR", None])
def test_what_is_sent_again(code):
    verdict = judge({"status": "FAILED", "fatal_error": {"code": code, "description": "told"}})
    assert not verdict.needs_person
    assert "sent again" in verdict.detail


def test_no_trouble_no_words():
    assert judge(active(nice="Queued", faults=0)) == judge({"status": "ACTIVE"})
    assert not in_trouble(active(nice="Queued", faults=0))
    assert in_trouble(active(nice="OK", faults=1))


def test_a_checksum_that_never_fits_is_hopeless():
    told = [event("VERIFY_CHECKSUM")] * 5
    assert not judge(active("VERIFY_CHECKSUM"), told[:4]).hopeless
    assert not judge(
        active("VERIFY_CHECKSUM"), [*told[:4], event("PROGRESS", is_error=False), *told]
    ).hopeless
    verdict = judge(active("VERIFY_CHECKSUM"), told)
    assert verdict.hopeless
    assert "not what was announced" in verdict.detail
