import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.spool._codec import decode_line, encode_line
from tests.spool.runs import same

DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.array_dtypes(max_size=3),
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
VALUES = st.recursive(
    st.one_of(PLAIN, hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from(["$ndarray", "$dict", "$float"])), inner, max_size=3
        ),
        st.dictionaries(st.integers(), inner, max_size=2),
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_document_comes_back_equal_to_the_bit(doc):
    name, back = decode_line(encode_line("start", doc))
    assert name == "start"
    assert same(doc, back)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_document_is_one_line_of_strict_json(doc):
    line = encode_line("event", doc)
    assert line.count(b"\n") == 1

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        np.float64("nan"),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.str_("a"),
        np.bytes_(b"a"),
        np.complex64(1 + 2j),
        np.datetime64("2026-01-02T03:04:05.123456789", "ns"),
        np.timedelta64(5, "ms"),
        np.longdouble(1) / 3,
    ],
)
def test_a_numpy_scalar_comes_back_equal(value):
    _, back = decode_line(encode_line("event", {"value": value}))
    assert back["value"] == value or (value != value and back["value"] != back["value"])


def test_byte_order_and_structure_are_kept():
    doc = {
        "big": np.arange(3, dtype=">u2"),
        "fields": np.zeros(2, [("x", "<f4", (2,)), ("y", [("z", ">i2")])]),
    }
    _, back = decode_line(encode_line("event", doc))
    assert back["big"].dtype.str == ">u2"
    assert back["fields"].dtype == doc["fields"].dtype
    assert back["big"].flags.writeable


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([None, 1], dtype=object), "event.data.x: an array of Python objects"),
        (np.zeros(2, [("a", object)]), "array of Python objects"),
        (np.ma.masked_array([1, 2], [True, False]), "masked array"),
        (object(), "event.data.x: a object cannot be stored"),
        ({1, 2}, "a set cannot be stored"),
        ({(1, 2): 3}, "keys of a mapping"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(value, message):
    with pytest.raises(FormatError, match=message):
        encode_line("event", {"data": {"x": value}})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        '["event"]',
        '["event", 3]',
        "[3, {}]",
        '["event", {"a": NaN',
        "\0\0",
        '["event", {"a": {"$ndarray": ["|O", [1], "AAAAAAAAAAA="]}}]',
        '["event", {"a": {"$ndarray": ["<f8", [2], "AAAAAAAAAAA="]}}]',
        '["event", {"a": {"$ndarray": ["no", [2], "AA=="]}}]',
        '["event", {"a": {"$ndarray": 5}}]',
        '["event", {"a": {"$dict": [[[], 1]]}}]',
        '["event", {"a": {"$float": "x"}}]',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_refused(line):
    with pytest.raises(FormatError, match="no document"):
        decode_line(line.encode() + b"\n")
