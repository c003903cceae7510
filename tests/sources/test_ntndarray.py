"""Decode: a structure in, a frame or a clear error out, whatever the structure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.sources import decode_ntndarray

TYPES = {
    "ubyteValue": "u1",
    "byteValue": "i1",
    "ushortValue": "u2",
    "shortValue": "i2",
    "uintValue": "u4",
    "intValue": "i4",
    "ulongValue": "u8",
    "longValue": "i8",
    "floatValue": "f4",
    "doubleValue": "f8",
}


def ntndarray(*, member="ushortValue", data=None, sizes=(3, 2), unique_id=7, codec=""):
    data = np.arange(6, dtype=TYPES.get(member, "u2")) if data is None else data
    return {
        "uniqueId": unique_id,
        "value": ({member: data},),
        "dimension": [{"size": size, "fullSize": size, "offset": 0, "binning": 1} for size in sizes],
        "codec": {"name": codec, "parameters": ()},
        "timeStamp": {"secondsPastEpoch": 1000, "nanoseconds": 500_000_000, "userTag": 0},
        "compressedSize": 123,
    }


@pytest.mark.parametrize("member", TYPES)
def test_every_member_of_the_union(member):
    frame = decode_ntndarray(ntndarray(member=member))
    assert frame.data.dtype == np.dtype(TYPES[member])
    np.testing.assert_array_equal(frame.data, [[0, 1, 2], [3, 4, 5]])  # x is the fastest
    assert (frame.unique_id, frame.timestamp) == (7, 1000.5)


@pytest.mark.parametrize("empty", [(), ({},), None])
def test_a_channel_without_a_frame(empty):
    assert decode_ntndarray(ntndarray() | {"value": empty, "uniqueId": 0, "dimension": []}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": {"name": "lz4"}}, "compressed"),
        ({"dimension": [{"size": 3}]}, "dimensions"),
        ({"dimension": [{"size": 3}, {"size": 2}, {"size": 3}]}, "dimensions"),
        ({"dimension": [{"size": -3}, {"size": -2}]}, "dimensions"),
        ({"dimension": [{"size": 0}, {"size": 2}]}, "dimensions"),
        ({"dimension": [{"size": 2**31}, {"size": 2**31}]}, "6 pixels"),
        ({"dimension": [{"size": 2}, {"size": 2}]}, "6 pixels"),
        ({"value": ({"stringValue": "x"},)}, "no image"),
        ({"value": ({"ushortValue": "x"},)}, "cannot be read"),
        ({"value": 3}, "cannot be read"),
        ({"uniqueId": "x"}, "cannot be read"),
        ({"codec": None}, "cannot be read"),
        ({"timeStamp": {}}, "no field"),
        ({"timeStamp": {"secondsPastEpoch": "x", "nanoseconds": 0}}, "cannot be read"),
        ({"dimension": None}, "cannot be read"),
        ({"dimension": [{}, {}]}, "no field"),
    ],
)
def test_what_is_no_image_is_told(change, message):
    with pytest.raises(FormatError, match=message):
        decode_ntndarray(ntndarray() | change)


@pytest.mark.parametrize("field", ["uniqueId", "value", "dimension", "codec", "timeStamp"])
def test_a_missing_field_is_told(field):
    structure = ntndarray()
    del structure[field]
    with pytest.raises(FormatError, match=field):
        decode_ntndarray(structure)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "size", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["uniqueId", "value", "dimension", "codec", "timeStamp"]), anything))
def test_nothing_but_a_format_error_escapes(change):
    try:
        frame = decode_ntndarray(ntndarray() | change)
    except FormatError:
        return
    assert frame is None or frame.data.ndim == 2
