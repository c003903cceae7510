"""Arguments, in every way in which clients write them."""

import base64
import json

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.web.dm._codec import data_of, mapping_of, text_of

from .clients import encoded

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(TEXTS)
def test_what_was_encoded_comes_back(text):
    assert text_of(encoded(text), "name") == text
    bare = base64.b64encode(base64.b64encode(text.encode())).decode()
    assert text_of(bare, "name") == text


@given(TEXTS)
def test_an_argument_never_holds_what_means_something_in_an_address(text):
    """The second encoding is of letters, digits and a few signs: no '/' and no '+' come out of it."""
    assert not set("/+%?#&") & set(encoded(text))


@given(TEXTS)
def test_lines_may_be_broken_as_some_encoders_do(text):
    """As the shell's `base64` does, and `encodebytes`; in the text of bytes it is a backslash and an n."""
    broken = base64.encodebytes(base64.encodebytes(text.encode()))
    assert text_of(broken.decode(), "name") == text
    assert text_of(str(broken), "name") == text


def test_as_the_facilitys_own_client_sent_it():
    assert text_of("b'WlhoaGJYQnNaUzB3TVE9PQo='", "name") == "example-01"
    assert data_of("b'ZTMwPQo='", "queryDict") == {}


def test_nothing_is_an_empty_text():
    assert text_of("b''", "name") == text_of("", "name") == ""
    assert mapping_of("", "queryDict") == mapping_of(None, "queryDict") == {}


@pytest.mark.parametrize(
    "argument",
    ["b'", "ring-2026", "b'YQ=='", "b'Zm9v", "%%%", "b'\u00fc'", encoded("x")[:-3], "=", "b'===='"],
)
def test_what_is_not_encoded_twice_is_told(argument):
    with pytest.raises(HTTPException, match="base64 twice") as caught:
        text_of(argument, "experiment name")
    assert caught.value.status_code == 400
    assert caught.value.detail.startswith("experiment name: ")


def test_a_zero_byte_is_no_text():
    with pytest.raises(HTTPException, match="zero byte"):
        text_of(encoded("a\0b"), "folder")


def test_bytes_that_are_no_text_are_told():
    with pytest.raises(HTTPException, match="no text"):
        text_of(str(base64.b64encode(base64.b64encode(b"\xff\xfe"))), "folder")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "nothing",
        "NaN",
        "[Infinity]",
        '{"a": 1e999}',
        '"\\ud800"',
        '{"\\ud800": 1}',
        '["\\u0000"]',
        "[" * 30_000,
        "9" * 10_000,
    ],
)
def test_what_is_no_json_of_ours_is_told(text):
    with pytest.raises(HTTPException, match="argsDict: is no JSON"):
        data_of(encoded(text), "argsDict")


@pytest.mark.parametrize("value", [[], "x", 3, None])
def test_a_mapping_is_asked_for(value):
    with pytest.raises(HTTPException, match="give a mapping"):
        mapping_of(encoded(json.dumps(value)), "argsDict")


def test_too_much_is_refused_before_it_is_looked_at():
    with pytest.raises(HTTPException, match="64 KiB") as caught:
        text_of("A" * ((64 << 10) + 1), "workflow")
    assert caught.value.status_code == 413
