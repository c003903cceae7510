"""The two sums of the ledger hold for any stream of updates."""

from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.streaming import FrameAudit


@given(
    expected=st.integers(1, 30),
    base_id=st.integers(0, 10**6),
    updates=st.lists(
        st.tuples(st.sampled_from(["frame", "corrupt"]), st.integers(-3, 40) | st.none()), max_size=60
    ),
)
def test_sums_always_add_up(expected, base_id, updates):
    audit = FrameAudit(expected=expected, base_id=base_id)
    taken = []
    for kind, offset in updates:
        if kind == "frame" and offset is not None:
            index = audit.admit(base_id + offset)
            taken += [] if index is None else [index]
        else:
            audit.corrupt(None if offset is None else base_id + offset)
    ledger = audit.ledger()
    assert ledger.expected == ledger.accepted + ledger.corrupt + ledger.missing
    assert (
        ledger.updates == ledger.accepted + ledger.duplicate + ledger.stale + ledger.corrupt == len(updates)
    )
    assert ledger.accepted == len(taken)
    assert taken == sorted(set(taken))  # each once, in order, inside
    assert all(0 <= index < expected for index in taken)
    in_gaps = {i for first, length in ledger.gaps for i in range(first, first + length)}
    assert len(in_gaps) == ledger.missing
    assert in_gaps.isdisjoint(taken)


def test_complete_series():
    audit = FrameAudit(expected=3, base_id=100)
    assert [audit.admit(i) for i in (101, 102, 103)] == [0, 1, 2]
    assert audit.settled
    ledger = audit.ledger()
    assert (ledger.accepted, ledger.missing, ledger.first_id, ledger.last_id) == (3, 0, 101, 103)
    assert ledger.complete


def test_head_middle_and_tail_are_missed():
    audit = FrameAudit(expected=10, base_id=0)
    for unique_id in (3, 4, 7):
        audit.admit(unique_id)
    assert audit.ledger().gaps == ((0, 2), (4, 2), (7, 3))
    assert not audit.settled


def test_stale_duplicate_and_late_updates_are_told_apart():
    audit = FrameAudit(expected=5, base_id=10)
    assert audit.admit(10) is None  # left from the run before
    assert audit.admit(11) == 0
    assert audit.admit(11) is None  # posted again
    assert audit.admit(13) == 2
    assert audit.admit(12) is None  # out of order: its place has passed
    assert audit.admit(16) is None  # beyond the series
    ledger = audit.ledger()
    assert (ledger.duplicate, ledger.stale, ledger.missing) == (1, 3, 3)


def test_corrupt_frame_has_a_place_of_its_own():
    audit = FrameAudit(expected=2, base_id=0)
    audit.corrupt(1)
    audit.corrupt(None)
    assert audit.admit(2) == 1
    ledger = audit.ledger()
    assert (ledger.corrupt, ledger.stale, ledger.accepted, ledger.missing) == (1, 1, 1, 0)
