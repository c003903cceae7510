"""Codecs: every pixel comes back from what other libraries compressed; whatever else comes, no crash."""

import struct

import hdf5plugin
import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.sources._codecs import MAX_MESSAGE_BYTES, decompress
from tests.sources.hostile_samples import CODECS, DTYPES, compressed, hdf5_chunk

U2 = np.dtype("u2")


def sample(dtype=U2, shape=(61, 67), mean=0.3):
    return np.random.default_rng(3).poisson(mean, shape).astype(dtype)


def unpacked(codec, data, payload=None):
    payload = compressed(codec, data) if payload is None else payload
    return decompress(codec.split(" ")[0], payload, data.shape, data.dtype)


def same(decoded, data):
    assert decoded.dtype == data.dtype
    np.testing.assert_array_equal(decoded, data)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("codec", CODECS)
def test_pixels_of_every_type(codec, dtype):
    data = sample(dtype)
    same(unpacked(codec, data), data)


# Bitshuffle takes elements by eights, in blocks of 8192 bytes; the rest is kept as it is.
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (2, 4), (3, 3), (64, 64), (64, 65), (3, 200, 201)], ids=str
)
@pytest.mark.parametrize("codec", CODECS)
def test_images_and_stacks_of_any_size(codec, shape):
    data = sample(shape=shape, mean=5000)
    same(unpacked(codec, data), data)


def test_chunks_of_several_blocks():
    data = sample(shape=(300, 301))
    for nbytes in (16, 4096):  # a block of 16 bytes does not shrink, and is kept as it is
        chunk = hdf5_chunk(data, hdf5plugin.LZ4(nbytes=nbytes))
        same(unpacked("lz4", data, np.frombuffer(chunk, "u1")), data)
    for elements in (8, 2048, 16384, 65536):
        chunk = hdf5_chunk(data, hdf5plugin.Bitshuffle(nelems=elements, cname="lz4"))
        same(unpacked("bslz4", data, np.frombuffer(chunk, "u1")), data)


def test_a_jpeg_is_near_to_what_it_was():
    y, x = np.mgrid[:48, :64]
    data = (100 + 50 * np.sin(x / 9) * np.cos(y / 7)).astype("u1")
    decoded = unpacked("jpeg", data)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - data).max() <= 3
    assert unpacked("jpeg", data.view("i1")).dtype == np.int8


def test_no_words_at_all_have_nothing_to_decompress():
    assert decompress("lz4", np.empty(0, "u1"), (0,), np.dtype("u8")).shape == (0,)


def bslz4_block(size):
    block = lz4.block.compress(bytes(size), store_size=False)
    return struct.pack(">I", len(block)) + block


@pytest.mark.parametrize(
    ("codec", "payload", "message"),
    [
        ("zlib", b"x" * 50, "codec 'zlib' is unknown; choose lz4, bslz4, blosc, jpeg"),
        ("lz4", b"", "cannot be decompressed by lz4"),
        ("lz4", b"\x00" * 30, "cannot be decompressed by lz4"),
        (
            "lz4",
            lz4.block.compress(bytes(8191), store_size=False),
            "holds 8191 bytes, its dimensions say 8192",
        ),
        ("lz4", lz4.block.compress(bytes(8193), store_size=False), "cannot be decompressed by lz4"),
        ("lz4", lz4.block.compress(bytes(2**28), store_size=False), "cannot be decompressed by lz4"),
        ("lz4", struct.pack(">QI", 8192, 8192), "block at byte 12"),
        ("lz4", struct.pack(">Q", 8192), "have no size"),
        ("lz4", struct.pack(">QII", 8192, 0, 5) + b"x" * 5, "have no size"),
        ("lz4", struct.pack(">QII", 8192, 8192, 2**31) + b"x" * 5, "block at byte 12 states 2147483648"),
        ("lz4", struct.pack(">QII", 8192, 8192, 5) + b"xxxxx", "cannot be decompressed by lz4"),
        ("bslz4", b"", "block at byte 0"),
        ("bslz4", b"\x00\x00\x00\x05xx", "block at byte 0 states 5 bytes"),
        ("bslz4", struct.pack(">I", 2**32 - 1) + b"x" * 50, "states 4294967295 bytes"),
        ("bslz4", bytes(4) + bslz4_block(8192), "states 0 bytes"),
        ("bslz4", bslz4_block(8192) + b"x", "1 bytes behind its last bslz4 block"),
        ("bslz4", bslz4_block(8184), "holds 8184 bytes, its dimensions say 8192"),
        ("bslz4", bslz4_block(8200), "holds 8193 bytes, its dimensions say 8192"),
        ("bslz4", struct.pack(">QI", 8192, 2**31) + bslz4_block(8192), "larger than any"),
        ("bslz4", struct.pack(">QI", 8192, 6) + bslz4_block(8192), "no multiple of 8"),
        ("bslz4", struct.pack(">Q", 8192), "block"),
        ("blosc", b"", "blosc frame states -1 bytes"),
        ("blosc", compressed("blosc lz4", np.zeros((64, 63), "u2")).tobytes(), "for 8064"),
        ("blosc", compressed("blosc lz4", np.zeros((64, 64), "u2")).tobytes() + b"x", "blosc frame states"),
        ("blosc", struct.pack("<BBBBIII", 2, 1, 1, 2, 8192, 8192, 16), "cannot be decompressed by blosc"),
        ("jpeg", compressed("jpeg", np.zeros((64, 64), "u1")).tobytes(), "jpeg holds one image of 8 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_payload_is_told(codec, payload, message):
    with pytest.raises(FormatError, match=message):
        decompress(codec, np.frombuffer(payload, "u1"), (64, 64), U2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda jpeg: jpeg[:-20], "has no end"),
        (lambda jpeg: jpeg[-2:], "cannot be decompressed by jpeg"),
        (
            lambda jpeg: jpeg.replace(b"\x00\x40\x00\x40", b"\xff\xff\xff\xff"),
            "cannot be decompressed by jpeg",
        ),
    ],
)
def test_a_jpeg_that_is_none_is_told(spoil, message):
    """Among them one that states 65535 x 65535 pixels: no buffer is made for them."""
    jpeg = spoil(compressed("jpeg", np.zeros((64, 64), "u1")).tobytes())
    with pytest.raises(FormatError, match=message):
        decompress("jpeg", np.frombuffer(jpeg, "u1"), (64, 64), np.dtype("u1"))


def test_a_forged_size_takes_no_memory():
    for shape in [(2**31, 2**31), (MAX_MESSAGE_BYTES // 2, 2)]:
        with pytest.raises(FormatError, match="larger than any message"):
            decompress("lz4", np.zeros(9, "u1"), shape, U2)


PAYLOADS = [(codec, compressed(codec, sample(shape=(70, 71)))) for codec in CODECS]
PAYLOADS.append(("jpeg", compressed("jpeg", sample("u1", (70, 71)))))


@st.composite
def spoilt(draw):
    codec, payload = draw(st.sampled_from(PAYLOADS))
    text = bytearray(payload.tobytes())
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short, and there the harm is done.
        at = draw(st.integers(0, 40) | st.integers(0, len(text)))
        cut = draw(st.integers(0, 8))
        text[at : at + cut] = draw(st.binary(min_size=cut, max_size=cut) | st.binary(max_size=40))
    label = draw(st.sampled_from([codec.split(" ")[0]] * 4 + ["lz4", "bslz4", "blosc", "jpeg"]))
    return label, np.frombuffer(bytes(text[: draw(st.sampled_from([None, None, len(text) // 2]))]), "u1")


@settings(max_examples=400)
@given(spoilt(), st.sampled_from([(70, 71), (71, 71), (2, 35, 71), (1,)]), st.sampled_from(DTYPES))
def test_a_spoilt_payload_is_refused_or_has_the_right_shape(case, shape, dtype):
    codec, payload = case
    try:
        decoded = decompress(codec, payload, shape, dtype)
    except FormatError:
        return
    assert (decoded.shape, decoded.dtype) == (shape, dtype)
