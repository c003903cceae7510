"""The two sums of the ledger hold for any stream of updates."""

from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.streaming import FrameAudit


@st.composite
def streams(draw):
    """An acquisition and whatever may come: gaps, repeats, late, corrupt, short and foreign messages."""
    each = draw(st.integers(1, 7))
    expected = draw(st.integers(1, 60))
    numbers = st.integers(-3, -(-expected // each) + 3)
    message = st.tuples(numbers, st.integers(1, each))
    updates = draw(st.lists(message | st.tuples(numbers | st.none(), st.none()), max_size=60))
    if draw(st.booleans()):  # mostly in order, as a real detector sends
        updates.sort(key=lambda update: update[0] or 0)
    base_id = draw(st.integers(0, 10**6) | st.integers(2**31 - 40, 2**31 - 1) | st.integers(-40, 0))
    return each, expected, base_id, updates


def wrapped(number):
    """As a 32-bit signed counter shows it."""
    return (number + 2**31) % 2**32 - 2**31


@given(streams())
def test_sums_always_add_up(stream):
    each, expected, base_id, updates = stream
    audit = FrameAudit(expected=expected, base_id=base_id, frames_per_message=each)
    taken = []
    for number, count in updates:
        if count is None:
            audit.corrupt(None if number is None else wrapped(base_id + number))
        else:
            taken += frames_of(audit.admit(wrapped(base_id + number), count))
    ledger = audit.ledger()
    assert ledger.expected == ledger.accepted + ledger.corrupt + ledger.missing
    assert ledger.updates == ledger.accepted + ledger.duplicate + ledger.stale + ledger.corrupt
    assert ledger.accepted == len(taken)
    assert ledger.out_of_order <= ledger.stale
    assert taken == sorted(set(taken))  # each once, in order, inside
    assert all(0 <= index < expected for index in taken)
    in_gaps = {i for first, length in ledger.gaps for i in range(first, first + length)}
    assert len(in_gaps) == ledger.missing
    assert in_gaps.isdisjoint(taken)
    if each == 1:
        assert ledger.updates == len(updates)


@given(streams())
def test_a_message_that_came_is_never_missing(stream):
    """Against a plain account: a message counts if it is expected and none after it has come before."""
    each, expected, base_id, updates = stream
    audit = FrameAudit(expected=expected, base_id=base_id, frames_per_message=each)
    newest, accepted = 0, 0
    for number, count in updates:
        if count is None:
            continue
        frames = frames_of(audit.admit(wrapped(base_id + number), count))
        if newest < number <= -(-expected // each):
            newest = number
            first = (number - 1) * each
            assert frames == list(range(first, min(first + count, expected)))
            accepted += len(frames)
        else:
            assert frames == []
    assert audit.ledger().accepted == accepted


def frames_of(place):
    """The frame indices of what `admit` answers."""
    return [] if place is None else list(range(place[0], place[0] + place[1]))


def test_a_stack_that_comes_short_leaves_a_gap():
    audit = FrameAudit(expected=10, base_id=0, frames_per_message=4)
    assert audit.admit(1, 4) == (0, 4)
    assert audit.admit(2, 3) == (4, 3)
    assert not audit.settled
    assert audit.admit(3, 4) == (8, 2)  # the last one is padded by the source
    assert audit.settled
    ledger = audit.ledger()
    assert ledger.gaps == ((7, 1),)
    assert (ledger.accepted, ledger.missing, ledger.stale, ledger.updates) == (9, 1, 2, 11)


def test_a_corrupt_stack_counts_all_its_frames():
    audit = FrameAudit(expected=10, base_id=0, frames_per_message=4)
    audit.corrupt(1)
    audit.corrupt(3)
    ledger = audit.ledger()
    assert (ledger.corrupt, ledger.missing, ledger.gaps) == (6, 4, ((4, 4),))


def test_complete_series():
    audit = FrameAudit(expected=3, base_id=100)
    assert [frames_of(audit.admit(i)) for i in (101, 102, 103)] == [[0], [1], [2]]
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
    assert audit.admit(11) == (0, 1)
    assert audit.admit(11) is None  # posted again
    assert audit.admit(13) == (2, 1)
    assert audit.admit(12) is None  # out of order: its place has passed
    assert audit.admit(16) is None  # beyond the series
    ledger = audit.ledger()
    assert (ledger.duplicate, ledger.stale, ledger.out_of_order, ledger.missing) == (1, 3, 1, 3)


def test_corrupt_frame_has_a_place_of_its_own():
    audit = FrameAudit(expected=2, base_id=0)
    audit.corrupt(1)
    audit.corrupt(None)
    assert audit.admit(2) == (1, 1)
    ledger = audit.ledger()
    assert (ledger.corrupt, ledger.stale, ledger.accepted, ledger.missing) == (1, 1, 1, 0)


def test_numbers_wrap_round_as_the_camera_s_counter_does():
    audit = FrameAudit(expected=4, base_id=2**31 - 3)
    numbers = [2**31 - 2, 2**31 - 1, -(2**31), -(2**31) + 1]
    assert [audit.expects(number) for number in [2**31 - 3, *numbers, -(2**31) + 2]] == [
        False,
        *4 * [True],
        False,
    ]
    assert [frames_of(audit.admit(number)) for number in numbers] == [[0], [1], [2], [3]]
    assert audit.settled
    assert not any(map(audit.expects, numbers))


@given(streams(), st.integers(0, 70))
def test_an_end_on_purpose_expects_what_was_sent(stream, sent):
    """Of the last message the frames that came count; where it is lost, it counts as full."""
    each, expected, base_id, updates = stream
    audit = FrameAudit(expected=expected, base_id=base_id, frames_per_message=each)
    last = []
    for number, count in updates:
        if count is not None and number <= sent:
            taken = frames_of(audit.admit(wrapped(base_id + number), count))
            last = taken if number == sent and taken else last
    before = audit.ledger()
    audit.end_at(wrapped(base_id + sent))
    after = audit.ledger()
    assert after.expected == after.accepted + after.missing
    assert (after.accepted, after.updates) == (before.accepted, before.updates)
    if sent * each >= expected:
        assert after == before
    elif last:
        assert after.expected == last[-1] + 1
        assert audit.settled
    else:
        assert after.expected == sent * each
        assert audit.settled == (sent == 0)
    assert not audit.expects(wrapped(base_id + sent + 1)) or after == before
