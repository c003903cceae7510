"""Dense frames to event words, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import pack_events, sparsify, unpack_events
from apsdm_bluesky.streaming import Threads

from .reference import batch, real_frames

DTYPES = (np.uint8, np.uint16, np.uint32, np.int32)


def by_numpy(frames):
    flat = frames.reshape(len(frames), frames.shape[1] * frames.shape[2])
    rows, pixels = np.nonzero(flat)
    words = rows.astype(np.uint64) << np.uint64(40) | pixels.astype(np.uint64) << np.uint64(16)
    offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(flat, axis=1))])
    return words | flat[rows, pixels].astype(np.uint64), offsets


def check(events, frames):
    words, offsets = by_numpy(frames)
    np.testing.assert_array_equal(events.words, words)
    np.testing.assert_array_equal(events.offsets, offsets)
    assert (events.words.dtype, events.offsets.dtype) == (np.uint64, np.int64)
    assert (events.shape, len(events)) == (frames.shape[1:], len(frames))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_words_are_those_of_numpy_by_any_number_of_threads(data):
    shape = data.draw(st.tuples(st.integers(0, 9), st.integers(1, 30), st.integers(1, 30)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    occupancy = data.draw(st.sampled_from([0, 0.02, 0.1, 0.4, 1]))
    frames = rng.integers(1, 4096, shape) * (rng.random(shape) < occupancy)
    frames = frames.astype(data.draw(st.sampled_from(DTYPES)))
    with Threads(data.draw(st.integers(1, 3))) as workers:
        check(pack_events(batch(frames), workers), frames)
        lit = np.count_nonzero(frames, axis=(1, 2)).max(initial=0)
        events = sparsify(batch(frames), workers)
    if 8 * lit <= frames[:1].nbytes or len(frames) == 0:
        check(events, frames)
    else:
        assert events is None


def test_pixels_of_many_blocks():
    frames = np.random.default_rng(0).poisson(0.1, (3, 97, 131)).astype(np.uint16)
    frames[1, 40:50] = 4095  # whole blocks lit
    check(sparsify(batch(frames)), frames)


def test_views_in_another_order_and_read_only_ones():
    frames = np.random.default_rng(1).poisson(0.1, (4, 20, 60)).astype(">u2")
    frames.flags.writeable = False
    check(sparsify(batch(frames)), frames)
    check(sparsify(batch(frames[:, ::2, ::-1])), frames[:, ::2, ::-1])


def test_indices_and_times_go_along():
    frames = np.zeros((2, 3, 4), np.uint8)
    events = sparsify(batch(frames, [4, 9]))
    assert (events.indices.tolist(), events.timestamps, events.offsets.tolist()) == ([4, 9], None, [0, 0, 0])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(4096, np.uint16), (2**32 - 1, np.uint32), (-1, np.int32), (-(2**31), np.int32), (2**63, np.uint64)],
)
def test_counts_that_words_cannot_hold(value, dtype):
    frames = np.zeros((3, 10, 10), dtype)
    frames[2, 9, 9] = value
    assert sparsify(batch(frames)) is None
    with pytest.raises(
        ReductionError, match=rf"count of {value} does not fit event words \(counts 0 to 4095\)"
    ):
        pack_events(batch(frames))


def test_more_pixels_than_words_can_name():
    most = np.zeros((1, 2**11, 2**10), np.uint8)
    most[0, -1, -1] = 1
    check(sparsify(batch(most)), most)
    beyond = np.zeros((1, 2**21 + 1, 1), np.uint8)
    assert sparsify(batch(beyond)) is None
    with pytest.raises(ReductionError, match="more than 2\\^21 pixels"):
        pack_events(batch(beyond))


@pytest.mark.parametrize("frames", [np.full((2, 3, 4), np.nan), np.zeros((2, 3, 4), bool)])
def test_what_is_no_count_is_refused(frames):
    for function in (sparsify, pack_events):
        with pytest.raises(ReductionError, match="only integer counts"):
            function(batch(frames))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ReductionError, match="need \\(n, ny, nx\\)"):
        sparsify(batch(np.zeros((2, 3), np.uint8)))
    with pytest.raises(ReductionError, match="2 frames with indices of shape"):
        sparsify(batch(np.zeros((2, 3, 4), np.uint8), [1, 2, 3]))


def test_the_real_frames():
    """Their bad pixels count up to 11,810: without them, 16 % of the pixels are lit."""
    frames = real_frames()
    assert sparsify(batch(frames)) is None
    frames[frames > 4095] = 0
    events = sparsify(batch(frames))
    check(events, frames)
    np.testing.assert_array_equal(unpack_events(events).frames, frames)
