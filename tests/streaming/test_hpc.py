"""The pure parts of a stream group: the window, what goes over the wire, and the series."""

from types import SimpleNamespace

import numpy as np
import pvaccess
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import CorruptFrame, EventFrame, Frame, FrameBatch
from apsdm_bluesky.reduction import QMap, SeriesReduction, SeriesSettings
from apsdm_bluesky.streaming import Collector, ConsumerGroup, ConsumerSettings, GroupSeries
from apsdm_bluesky.streaming._hpc_consumer import _ntndarray
from apsdm_bluesky.streaming._hpc_window import ReorderWindow
from apsdm_bluesky.streaming._hpc_wire import Delivery, Sender, from_wire, sparse, to_wire

SENDER = Sender(consumer=2, process=77, received=5)

# -- the window --


@given(st.permutations(range(3, 20)))
def test_any_order_becomes_the_right_one(numbers):
    window = ReorderWindow(first=3)
    released = [item for number in numbers for item in window.push(number, number)]
    assert released == list(range(3, 20))
    assert len(window) == 0


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans())))
def test_nothing_is_lost_or_made_up_by_giving_up(steps):
    """True: everything below the number is given up."""
    window, pushed, released = ReorderWindow(first=3), [], []
    for place, (number, give_up) in enumerate(steps):
        if give_up:
            released += window.give_up(number)
        else:
            pushed.append((number, place))
            released += window.push(number, (number, place))
    released += window.flush()
    assert sorted(released) == sorted(pushed)
    assert len(window) == 0


def test_what_was_given_up_goes_on_when_it_comes_after_all():
    window = ReorderWindow(first=1)
    assert window.push(2, "b") == []
    assert window.give_up(2) == ["b"]
    assert window.push(1, "a") == ["a"]
    assert window.push(3, "c") == ["c"]


# -- over the wire --


def image(unique_id, data):
    return Frame(unique_id=unique_id, timestamp=1000.25, data=np.asarray(data))


def carried(message):
    delivery = from_wire(_ntndarray(to_wire(SENDER, message)))
    assert delivery.sender == SENDER
    return delivery.message


def test_an_image_travels_as_events():
    sent = sparse(image(9, np.array([[0, 3], [7, 0]], np.int16)))
    came = carried(sent)
    assert isinstance(came, EventFrame)
    assert (came.unique_id, came.timestamp, came.shape) == (9, 1000.25, (2, 2))
    np.testing.assert_array_equal(came.words, sent.words)
    np.testing.assert_array_equal(came.offsets, [0, 2])


@pytest.mark.parametrize("counts", [[[0, 0], [0, 0]], [[0, 0], [0, 4]]])
def test_a_stack_whose_first_image_is_empty(counts):
    came = carried(sparse(image(9, np.array([[[0, 0], [0, 0]], counts], np.uint8))))
    np.testing.assert_array_equal(came.offsets, [0, 0, np.count_nonzero(counts)])


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3)])
def test_what_does_not_fit_event_words_travels_dense(dtype, shape):
    data = np.zeros(shape, dtype)
    data[..., 1, 2] = 100
    came = carried(image(4, data))
    np.testing.assert_array_equal(came.data, data, strict=True)


def test_a_count_that_does_not_fit_stays_an_image():
    message = image(4, np.array([[0, 4096]], np.uint16))
    assert sparse(message) is message


def test_packed_events_of_the_detector_keep_their_frame_numbers():
    words = np.array([1001 << 40 | 3 << 16 | 2, 1003 << 40 | 1], np.uint64)
    message = EventFrame(
        unique_id=5, timestamp=1.0, words=words, offsets=np.array([0, 0, 1, 1, 2, 2]), shape=(2, 2)
    )
    came = carried(sparse(message))
    np.testing.assert_array_equal(came.words, words)
    np.testing.assert_array_equal(came.offsets, message.offsets)


def test_corrupt_messages_are_told_and_a_first_call_has_none():
    came = carried(CorruptFrame(unique_id=6, reason="compressed (nonsense)"))
    assert (came.unique_id, came.reason) == (6, "compressed (nonsense)")
    assert carried(None) is None


def test_counts_that_changed_on_the_way_are_corrupt():
    fields = to_wire(SENDER, sparse(image(8, np.array([[1, 2]], np.uint16))))
    fields["attribute"]["Totals"] = np.array([4])
    message = from_wire(_ntndarray(fields)).message
    assert isinstance(message, CorruptFrame)
    assert message.unique_id == 8
    assert "counts are not those" in message.reason


def test_a_stranger_is_refused():
    fields = to_wire(SENDER, image(8, np.array([[1, 2]], np.uint16)))
    fields["attribute"] = {}
    with pytest.raises(FormatError, match="no message of a stream consumer"):
        from_wire(_ntndarray(fields))


def with_sender(**others):
    fields = to_wire(SENDER, image(8, np.array([[1, 2]], np.uint16)))
    fields["attribute"].update(others)
    return _ntndarray(fields)


STRANGERS = {
    "no attribute at all": pvaccess.PvObject({"value": pvaccess.INT}, {"value": 3}),
    "attributes that are none": pvaccess.PvObject({"attribute": [pvaccess.INT]}, {"attribute": [1]}),
    "a number that is a word": with_sender(Consumer="two"),
    "a number that is many": with_sender(Process=np.array([1, 2])),
}


@pytest.mark.parametrize("structure", STRANGERS.values(), ids=STRANGERS)
def test_what_anybody_may_call_is_refused_and_the_series_goes_on(structure, caplog):
    collector = Collector("nobody:Calls", GroupSeries(reduction, expected=24, base_id=7))
    for call in (structure, structure, with_sender()):
        collector._on_call(call)
    assert not collector.over(60)  # raises where the series has failed
    assert (collector.status()["refused"], collector.status()["accepted"]) == (2, 1)
    (record,) = caplog.records
    assert "no message of a stream consumer" in record.getMessage()


@pytest.mark.parametrize("totals", ["3", np.array([3.0]), 3])
def test_counts_of_another_kind_are_corrupt(totals):
    message = from_wire(with_sender(Totals=totals)).message
    assert "counts are not those" in message.reason


def test_an_image_that_holds_nan_arrives():
    data = np.array([[np.nan, 2.0]], np.float32)
    np.testing.assert_array_equal(carried(image(8, data)).data, data)


# -- the series --

FRAMES = np.random.default_rng(2).poisson(0.4, (24, 16, 16)).astype(np.uint16)
FRAMES[5, 3, 3] = 5000  # travels dense


def reduction(shape):
    return SeriesReduction(QMap.rings(shape, (8, 8), dynamic_bins=2), SeriesSettings(hot_pixel_frames=4))


def reduced(indices):
    series = reduction((16, 16))
    series.push(FrameBatch(frames=FRAMES[indices], indices=np.asarray(indices)))
    return series.result().sha256


def delivery(unique_id, *, consumer=1, process=1, received=1, base_id=100):
    message = sparse(image(unique_id, FRAMES[unique_id - base_id - 1]))
    return Delivery(sender=Sender(consumer=consumer, process=process, received=received), message=message)


@given(shares=st.lists(st.integers(1, 3), min_size=24, max_size=24), data=st.data())
def test_any_sharing_out_and_any_loss_gives_what_one_process_gets(shares, data):
    """Each consumer delivers its share in order; how they take turns is anybody's guess."""
    lost = data.draw(st.sets(st.integers(0, 23), max_size=20))
    queues = {number: [i for i, share in enumerate(shares) if share == number] for number in (1, 2, 3)}
    series = GroupSeries(reduction, expected=24, base_id=100)
    for number in queues:
        series.take(Delivery(sender=Sender(consumer=number, process=number, received=1), message=None))
    for number in data.draw(st.permutations(shares)):
        index = queues[number].pop(0)
        if index not in lost:
            series.take(delivery(101 + index, consumer=number, process=number))
    result, ledger = series.close(), series.ledger()
    kept = [index for index in range(24) if index not in lost]
    assert (ledger.expected, ledger.accepted, ledger.missing) == (24, len(kept), len(lost))
    assert (ledger.out_of_order, ledger.duplicate) == (0, 0)
    assert result.sha256 == reduced(kept)


def test_stacks_of_which_the_last_holds_more_than_was_asked_for():
    series = GroupSeries(reduction, expected=10, base_id=100, frames_per_message=4)
    for received, (unique_id, first) in enumerate([(101, 0), (102, 4), (103, 8)], start=1):
        message = sparse(image(unique_id, FRAMES[first : first + 4]))
        series.take(Delivery(sender=Sender(consumer=1, process=1, received=received), message=message))
    assert series.settled
    assert series.close().sha256 == reduced(list(range(10)))
    assert (series.ledger().accepted, series.ledger().stale) == (10, 2)


def test_what_every_consumer_has_passed_is_given_up():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101, consumer=1))
    series.take(delivery(103, consumer=2))
    assert series.waiting == 1  # consumer 1 may still bring 102
    series.take(delivery(104, consumer=1, received=2))
    assert series.waiting == 0
    assert series.ledger().gaps == ((1, 1), (4, 20))


def test_a_dead_consumer_is_not_waited_for():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101, consumer=1, process=7))
    series.take(delivery(103, consumer=2, process=8))
    series.gone(7)
    assert series.waiting == 0


def test_one_that_holds_up_a_full_window_is_given_up_until_it_speaks():
    series = GroupSeries(reduction, expected=24, base_id=100, window=3)
    series.take(delivery(101, consumer=1))
    for received, unique_id in enumerate((103, 104, 105), start=1):
        assert not series.full
        series.take(delivery(unique_id, consumer=2, received=received))
    assert series.full
    series.wait_no_more()
    assert series.waiting == 0
    assert series.consumers[1].silent
    series.take(delivery(102, consumer=1, received=2))
    assert not series.consumers[1].silent
    assert (series.ledger().out_of_order, series.ledger().accepted) == (1, 4)


def test_where_every_consumer_is_silent_nothing_is_waited_for():
    series = GroupSeries(reduction, expected=24, base_id=100, window=2)
    series.take(delivery(101, consumer=1))
    for received, unique_id in enumerate((103, 105), start=1):
        series.take(delivery(unique_id, consumer=2, process=8, received=received))
    series.gone(8)
    assert series.full  # for consumer 1, which says no more
    series.wait_no_more()
    assert (series.waiting, series.ledger().accepted) == (0, 3)


def test_a_consumer_that_starts_is_waited_for_before_its_first_message():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101, consumer=1))
    series.take(delivery(102, consumer=2, process=8))
    series.gone(8)
    series.take(Delivery(sender=Sender(consumer=2, process=9, received=0), message=None))
    assert not series.consumers[2].subscribed
    series.take(delivery(104, consumer=1, received=2))
    assert series.waiting == 1
    series.take(delivery(103, consumer=2, process=9, received=1))
    assert series.consumers[2].subscribed
    assert (series.waiting, series.ledger().accepted) == (0, 4)


def test_two_that_share_a_number_are_both_waited_for():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101, process=1))
    series.take(delivery(103, process=2))
    assert series.waiting == 1  # the other may still bring 102
    series.take(delivery(102, process=1, received=2))
    assert (series.waiting, series.ledger().accepted, series.ledger().out_of_order) == (0, 3, 0)
    assert series.subscribed == {1, 2}


def test_deaths_stand_in_the_order_of_their_times(tmp_path):
    settings = ConsumerSettings(source="", collector="", group="", queue=1, restarts=0, log=tmp_path / "log")
    group = ConsumerGroup(0, settings)
    for number, time in enumerate((1e9, 2.5, 1e-5)):  # as text: 1000000000.0, 1e-05, 2.5
        death = {"consumer": number, "process": 1, "time": time, "how": ""}
        group.consumers.append(SimpleNamespace(deaths=[death]))
    assert [death["consumer"] for death in group.deaths] == [2, 1, 0]
    group.consumers.clear()
    group.stop()


def test_a_consumer_tells_what_it_could_not_deliver():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101, received=1))
    series.take(delivery(104, received=4))
    series.take(delivery(105, process=2, received=1))
    counts = series.consumers[1]
    assert (counts.received, counts.delivered, counts.lost, counts.process) == (5, 3, 2, 2)


def test_without_an_expected_number_the_series_ends_with_its_last_frame(caplog):
    series = GroupSeries(reduction, expected=None, base_id=100)
    for unique_id in (101, 103, 103):
        series.take(delivery(unique_id))
    series.close()
    ledger = series.ledger()
    assert (ledger.expected, ledger.accepted, ledger.missing, ledger.duplicate) == (3, 2, 1, 1)
    assert ledger.gaps == ((1, 1),)


def test_messages_outside_the_series_are_stale_and_told_once(caplog):
    series = GroupSeries(reduction, expected=24, base_id=100)
    for received in (1, 2, 3):
        series.take(delivery(100, received=received, base_id=90))
    assert series.ledger().stale == 3
    (record,) = caplog.records
    assert "message 100 lies outside the series, 101 to 124" in record.getMessage()


def test_a_frame_of_another_shape_is_corrupt():
    series = GroupSeries(reduction, expected=24, base_id=100)
    series.take(delivery(101))
    other = Delivery(sender=SENDER, message=sparse(image(102, np.zeros((8, 8), np.uint16))))
    series.take(other)
    series.close()
    assert series.ledger().corrupt == 1
    assert series.corrupt_reason == "message 102 is of (8, 8), the series of (16, 16)"
