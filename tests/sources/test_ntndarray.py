"""Decode: a structure in, a message or a clear error out, whatever the structure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import EventFrame, Frame
from apsdm_bluesky.sources import decode_ntndarray
from apsdm_bluesky.sources._ntndarray import corrupt_frame
from tests.sources.hostile_samples import CODECS, MEMBERS, attribute, dimensions, events, ntndarray

IMAGE = np.arange(6, dtype="u2").reshape(2, 3)
STACK = np.arange(24, dtype="u2").reshape(4, 2, 3)
WORDS = [(100, 0, 5), (100, 5, 4095), (103, 2, 1)]


@pytest.mark.parametrize("dtype", MEMBERS.values())
def test_every_member_of_the_union(dtype):
    frame = decode_ntndarray(ntndarray(IMAGE.astype(dtype)))
    assert frame.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(frame.data, [[0, 1, 2], [3, 4, 5]])  # x is the fastest
    assert (frame.unique_id, frame.timestamp, frame.count) == (7, 1000.5, 1)


def test_a_stack_is_many_frames():
    stack = decode_ntndarray(ntndarray(STACK))
    np.testing.assert_array_equal(stack.data, STACK)
    assert stack.count == 4


def test_a_message_without_a_colour_mode_is_mono():
    np.testing.assert_array_equal(decode_ntndarray(ntndarray(STACK) | {"attribute": []}).data, STACK)


def test_attributes_of_images_known_to_be_mono_are_not_read():
    bare, stack, colour = ntndarray(IMAGE), ntndarray(STACK), ntndarray(STACK, attributes={"ColorMode": 4})
    del bare["attribute"], stack["attribute"]
    assert decode_ntndarray(bare, mono=True).data.shape == (2, 3)
    for three_dimensions, message in [(stack, "no field 'attribute'"), (colour, "RGB3")]:
        with pytest.raises(FormatError, match=message):
            decode_ntndarray(three_dimensions, mono=True)


@pytest.mark.parametrize("data", [IMAGE, STACK], ids=["image", "stack"])
def test_what_is_not_compressed_is_not_copied(data):
    assert np.shares_memory(decode_ntndarray(ntndarray(data)).data, data)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", [IMAGE, STACK], ids=["image", "stack"])
def test_compressed_images(codec, data):
    np.testing.assert_array_equal(decode_ntndarray(ntndarray(data, codec=codec)).data, data)


@pytest.mark.parametrize("codec", ["", *CODECS])
def test_packed_events(codec):
    message = decode_ntndarray(events(WORDS, codec=codec))
    assert isinstance(message, EventFrame)
    assert [(int(w) >> 40, int(w) >> 16 & 0x1FFFFF, int(w) & 0xFFF) for w in message.words] == WORDS
    assert message.offsets.tolist() == [0, 2, 2, 2, 3]
    assert (message.shape, message.count, message.unique_id) == ((2, 3), 4, 7)


def test_frames_without_an_event_are_frames():
    message = decode_ntndarray(events([], frames=9))
    assert message.count == 9
    assert len(message.words) == 0


def test_packed_events_are_not_copied_nor_locked():
    structure = events(WORDS)
    words = structure["value"][0]["ulongValue"]
    assert np.shares_memory(decode_ntndarray(structure).words, words)
    assert words.flags.writeable


@pytest.mark.parametrize("empty", [(), ({},), ({}, {}), None])
def test_a_channel_without_a_frame(empty):
    assert decode_ntndarray(ntndarray(IMAGE) | {"value": empty, "uniqueId": 0, "dimension": []}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": dimensions(2, 2)}, "6 values"),
        ({"dimension": dimensions(2**31, 2**31)}, "6 values"),
        ({"dimension": [{}, {}]}, "no field 'size'"),
        ({"dimension": None}, "cannot be read"),
        ({"value": ({"stringValue": "x"},)}, "'stringValue', which is no image"),
        ({"value": ({"ushortValue": "x"},)}, "cannot be read"),
        ({"value": 3}, "cannot be read"),
        ({"uniqueId": "x"}, "without a number: a field cannot be read"),
        ({"codec": None}, "cannot be read"),
        ({"timeStamp": {}}, "no field"),
        ({"timeStamp": {"secondsPastEpoch": "x", "nanoseconds": 0}}, "cannot be read"),
        ({"timeStamp": {"secondsPastEpoch": float("nan"), "nanoseconds": 0}}, "time stamp of nan s"),
        ({"timeStamp": {"secondsPastEpoch": 1, "nanoseconds": float("nan")}}, "time stamp of 1 s and nan ns"),
        ({"timeStamp": {"secondsPastEpoch": float("inf"), "nanoseconds": 0}}, "time stamp of inf s"),
        ({"attribute": None}, "cannot be read"),
        ({"attribute": [{"value": 3}]}, "no field 'name'"),
        ({"attribute": [{"name": "ColorMode", "value": None}]}, "ColorMode is missing or no number"),
    ],
)
def test_what_is_no_image_is_told(change, message):
    """What PVA can carry stands in hostile.py."""
    with pytest.raises(FormatError, match=message):
        decode_ntndarray(ntndarray(IMAGE) | change)


@pytest.mark.parametrize("field", ["uniqueId", "value", "dimension", "codec", "timeStamp", "attribute"])
def test_a_missing_field_is_told(field):
    structure = ntndarray(IMAGE)
    del structure[field]
    with pytest.raises(FormatError, match=field):
        decode_ntndarray(structure)


@pytest.mark.parametrize("field", ["compressedSize", "uncompressedSize"])
def test_sizes_are_read_of_what_is_compressed_only(field):
    structure, plain = ntndarray(IMAGE, codec="lz4"), ntndarray(IMAGE)
    del structure[field], plain[field]
    assert decode_ntndarray(plain).data.shape == (2, 3)
    with pytest.raises(FormatError, match=field):
        decode_ntndarray(structure)


def test_what_can_be_told_of_a_corrupt_message():
    error = FormatError("what is wrong")
    told = corrupt_frame(ntndarray(IMAGE), error)
    assert (told.unique_id, told.reason) == (7, "what is wrong")
    assert told.payload.tobytes() == IMAGE.tobytes()
    for nothing in ({}, {"uniqueId": None, "value": 3}, {"value": ({"stringValue": "x"},)}, {"value": ()}):
        told = corrupt_frame(nothing, error)
        assert (told.unique_id, told.payload) == (None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(IMAGE.ravel()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(
            st.sampled_from(["name", "size", "value", "ushortValue", "ubyteValue", "secondsPastEpoch"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


@given(
    st.sampled_from([ntndarray(IMAGE), ntndarray(STACK, codec="lz4"), events(WORDS)]),
    st.dictionaries(st.sampled_from(sorted(ntndarray(IMAGE))), anything),
)
def test_nothing_but_a_format_error_escapes(structure, change):
    structure = structure | change
    try:
        message = decode_ntndarray(structure)
    except FormatError as error:
        corrupt_frame(structure, error)
        return
    assert message is None or isinstance(message, EventFrame) or message.data.ndim in (2, 3)


attributes = st.dictionaries(
    st.sampled_from(["FirstFrame", "NumFrames", "SensorX", "SensorY", "ColorMode"]),
    st.integers(-2, 5) | st.integers() | st.floats() | st.text(max_size=3),
)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3).map(lambda n: n << 40), max_size=5), attributes)
def test_any_words_are_in_the_image_or_refused(words, changed):
    structure = ntndarray(
        np.array(words, np.uint64),
        attributes={"FirstFrame": 0, "NumFrames": 4, "SensorX": 3, "SensorY": 2} | changed,
    )
    try:
        message = decode_ntndarray(structure)
    except FormatError:
        return
    assert message.offsets[0] == 0
    assert message.offsets[-1] == len(words)
    assert (np.diff(message.offsets) >= 0).all()


def test_an_attribute_of_another_kind_is_no_concern():
    structure = ntndarray(IMAGE)
    structure["attribute"] += [attribute("Comment", "x"), {"name": "Odd", "value": None}]
    assert isinstance(decode_ntndarray(structure), Frame)
