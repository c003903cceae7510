"""Whether raw data may be removed: each rule, and that nothing unverified ever is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.archive import Evidence, LocalCopy, Record, RunEntry, State, expiring, verdict
from apsdm_bluesky.config import ArchiveConfig

DAY_S = 86400.0
NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
STRENGTH = {None: 0, Evidence.DESTINATION_MD5: 1, Evidence.RESTORED_SHA256: 2}

times = st.one_of(st.none(), st.floats(NOW - 2000 * DAY_S, NOW + 2000 * DAY_S))
states = st.sampled_from(list(State))
entries = st.builds(
    RunEntry,
    uid=st.just("raw"),
    collection=st.just("local"),
    raw_uid=st.sampled_from([None, None, "other"]),
    started=times,
    state=states,
    local=st.sampled_from(list(LocalCopy)),
    pinned_until=times,
    created=st.floats(NOW - 2000 * DAY_S, NOW),
)
bundles = st.lists(
    st.builds(
        Record,
        uid=st.just("raw"),
        collection=st.just("local"),
        runs=st.just(("raw",)),
        parts=st.integers(1, 3),
        state=st.one_of(st.just(State.VERIFIED), states),
        evidence=st.sampled_from([None, *Evidence]),
        verified=times,
        created=st.floats(NOW - 2000 * DAY_S, NOW),
    ),
    max_size=3,
)
configs = st.builds(
    ArchiveConfig,
    release_evidence=st.sampled_from(["restored-sha256", "destination-md5"]),
    keep_days=st.floats(0, 1000),
    retention_days=st.one_of(st.none(), st.floats(1, 1000)),
    expiry_warning_days=st.floats(1, 100),
)
analyses = st.lists(st.tuples(st.just("analysis"), st.sampled_from(["QUEUED", "PARKED"])), max_size=2)

ENTRY = RunEntry(
    uid="raw", collection="local", started=NOW - 40 * DAY_S, state=State.VERIFIED, created=NOW - 40 * DAY_S
)
BUNDLE = Record(
    uid="raw",
    collection="local",
    runs=("raw",),
    state=State.VERIFIED,
    evidence=Evidence.RESTORED_SHA256,
    verified=NOW - 39 * DAY_S,
    created=NOW - 40 * DAY_S,
)
CONFIG = ArchiveConfig()


@given(entries, bundles, configs, analyses)
def test_never_allowed_unless_every_bundle_is_verified_as_strongly_as_asked(entry, found, config, open_ones):
    told = verdict(entry, found, config, now=NOW, analyses=open_ones)
    assert told.reasons, "a decision is explained, whatever it is"
    assert all("\n" not in reason for reason in told.reasons)
    if not told.allowed:
        return
    asked = STRENGTH[Evidence(config.release_evidence)]
    assert found
    assert {record.state for record in found} == {State.VERIFIED}
    assert min(STRENGTH[record.evidence] for record in found) >= asked
    assert len(found) == found[0].parts
    assert entry.state in (State.VERIFIED, State.RELEASED)
    assert entry.local is LocalCopy.HELD
    assert entry.pinned_until is None or entry.pinned_until <= NOW
    began = entry.created if entry.started is None else entry.started
    assert began + config.keep_days * DAY_S <= NOW
    assert not open_ones
    assert entry.raw_uid is None


@given(entries, bundles, configs, st.floats(0, 1000 * DAY_S))
def test_more_of_what_is_asked_for_never_allows_more(entry, found, config, later):
    if verdict(entry, found, config, now=NOW).allowed:
        return
    stricter = config.model_copy(update={"release_evidence": "restored-sha256"})
    assert not verdict(entry, found, stricter, now=NOW).allowed
    pinned = replace(entry, pinned_until=NOW + 1 + later)
    assert not verdict(pinned, found, config, now=NOW).allowed


def test_what_allows_it_is_told_with_dates():
    told = verdict(ENTRY, [BUNDLE], CONFIG, now=NOW)
    assert told.allowed
    assert told.reasons == (
        "bundle raw verified by restored-sha256 on 2026-12-07 08:00 UTC",
        "kept until 2027-01-05 08:00 UTC (archive.keep_days)",
    )


MD5 = replace(BUNDLE, evidence=Evidence.DESTINATION_MD5)
PART = replace(BUNDLE, uid="raw.1of2", parts=2)


@pytest.mark.parametrize(
    ("entry", "found", "reason"),
    [
        (ENTRY, [], "not verified: VERIFIED"),
        (replace(ENTRY, state=State.QUEUED), [], "not verified: QUEUED"),
        (ENTRY, [replace(BUNDLE, state=State.COPIED)], "not verified: bundle raw is COPIED"),
        (ENTRY, [PART], "not verified: 1 of 2 bundles are known"),
        (
            ENTRY,
            [MD5],
            "evidence of raw is destination-md5, restored-sha256 is asked for (archive.release_evidence)",
        ),
        (replace(ENTRY, pinned_until=NOW + DAY_S), [BUNDLE], "pinned until 2027-01-16 08:00 UTC"),
        (
            replace(ENTRY, started=NOW - 10 * DAY_S),
            [BUNDLE],
            "kept until 2027-02-04 08:00 UTC (archive.keep_days)",
        ),
        (replace(ENTRY, local=LocalCopy.RELEASED, state=State.RELEASED), [BUNDLE], "released already"),
        (
            replace(ENTRY, local=LocalCopy.RELEASING, local_reason="disk on fire"),
            [BUNDLE],
            "is being released: disk on fire",
        ),
        (replace(ENTRY, local=LocalCopy.RESTORING), [BUNDLE], "is being restored"),
        (replace(ENTRY, raw_uid="x"), [BUNDLE], "is an analysis of run x: it has no raw data"),
        (
            ENTRY,
            [replace(BUNDLE, created=NOW - 700 * DAY_S)],
            "the tape's retention of bundle raw ends 2027-02-14 08:00 UTC, before 2027-04-15 08:00 UTC",
        ),
    ],
)
def test_each_hindrance_is_told_alone(entry, found, reason):
    told = verdict(entry, found, CONFIG, now=NOW)
    assert (told.allowed, told.reasons) == (False, (reason,))


def test_an_analysis_that_is_not_archived_is_told():
    told = verdict(ENTRY, [BUNDLE], CONFIG, now=NOW, analyses=[("a1", "PARKED")])
    assert told.reasons == ("analysis a1 of it is not archived: PARKED",)


def test_the_weaker_evidence_is_enough_where_it_is_asked_for():
    config = ArchiveConfig(release_evidence="destination-md5")
    assert verdict(ENTRY, [MD5], config, now=NOW).allowed
    assert verdict(ENTRY, [BUNDLE], config, now=NOW).allowed


def test_all_hindrances_are_told_together():
    entry = replace(ENTRY, pinned_until=NOW + 1, started=NOW)
    assert len(verdict(entry, [replace(MD5, created=0.0)], CONFIG, now=NOW).reasons) == 4


def test_bundles_whose_retention_ends_soon_are_listed_soonest_first():
    ages = {"old": 700, "gone": 800, "young": 10}
    found = [replace(BUNDLE, uid=uid, created=NOW - days * DAY_S) for uid, days in ages.items()]
    listed = expiring(found, CONFIG, now=NOW)
    assert [(one.bundle.uid, one.ends) for one in listed] == [
        ("gone", NOW - 70 * DAY_S),
        ("old", NOW + 30 * DAY_S),
    ]
    assert expiring(found, ArchiveConfig(retention_days=None), now=NOW) == []


def test_what_never_arrived_does_not_expire():
    kept = (State.COPIED, State.ON_TAPE, State.VERIFIED)
    found = [replace(BUNDLE, uid=state, state=state, created=0.0) for state in State]
    assert [one.bundle.state for one in expiring(found, CONFIG, now=NOW)] == sorted(kept)


def test_a_drill_does_not_prolong_the_retention():
    drilled = replace(BUNDLE, created=NOW - 700 * DAY_S, verified=NOW)
    assert len(expiring([drilled], CONFIG, now=NOW)) == 1
    assert verdict(ENTRY, [drilled], CONFIG, now=NOW).reasons[0].startswith("the tape")
