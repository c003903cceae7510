from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction._event_levels import EventLevels
from apsdm_bluesky.reduction._scheme import level_lags
from apsdm_bluesky.streaming import Threads

LEVELS = 5
BOOST = [level_lags(level, 4) for level in range(LEVELS)]
EIGHT = [level_lags(level, 8) for level in range(LEVELS)]
SCIKIT_BEAM = [np.arange(8) if level == 0 else np.arange(4, 8) for level in range(LEVELS)]
OVERLAPPING = [np.arange(6), np.array([0, 1, 3]), np.array([0, 1, 2])]
# Three tiles of 4,096 image pixels; the last one is not full.
IMAGE_PIXELS = 9_000


class Stream:
    """Random events, dense and packed."""

    def __init__(self, rng, frames, pixels, rate, highest=3):
        n = rng.poisson(rate, frames)
        offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
        # Few pixels, so that events meet; two of them are not used.
        lit = np.concatenate([rng.choice(pixels, 8, replace=False), rng.choice(IMAGE_PIXELS, 2)])
        pixel = rng.choice(lit, int(offsets[-1]))
        counts = rng.integers(0, highest + 1, len(pixel))
        self.words = (
            (rng.integers(0, 9, len(pixel)).astype(np.uint64) << np.uint64(40))
            | (pixel.astype(np.uint64) << np.uint64(16))
            | counts.astype(np.uint64)
        )
        self.offsets = offsets
        dense = np.zeros((frames, IMAGE_PIXELS), np.uint64)
        np.add.at(dense, (np.repeat(np.arange(frames), n), pixel), counts.astype(np.uint64))
        self.dense = dense[:, pixels]


def used_pixels(rng):
    return np.sort(rng.choice(IMAGE_PIXELS, 30, replace=False))


def level_frames(dense, level):
    n = len(dense) >> level
    return dense[: n << level].reshape(n, 1 << level, dense.shape[1]).sum(axis=1)


def reference(dense, lags, first=0):
    """Products of each level, of pairs whose later frame is one of those from `first` on."""
    products = []
    for level, of_level in enumerate(lags):
        rows = level_frames(dense, level)
        later = [np.arange(max(first >> level, lag), len(rows)) for lag in of_level]
        products.append(
            [(rows[n] * rows[n - lag]).sum(axis=0) for n, lag in zip(later, of_level, strict=True)]
        )
    return [np.array(of_level, np.uint64) for of_level in products]


def products_of(events, lags, npix):
    return np.split(events.products(npix), np.cumsum([len(of_level) for of_level in lags])[:-1])


def assert_same_products(events, lags, dense, first=0):
    npix = dense.shape[1]
    for found, expected in zip(products_of(events, lags, npix), reference(dense, lags, first), strict=True):
        np.testing.assert_array_equal(found, expected)


def push_cut(events, stream, cuts, start=0):
    """Push the stream from frame `start` on in blocks; returns all rows of the level above."""
    edges = [start, *sorted(cuts), len(stream.offsets) - 1]
    slots, rows = [], []
    for begin, end in pairwise(edges):
        of_block = events.push(begin, stream.words, stream.offsets[begin : end + 1])
        slots.append(of_block[0])
        rows.append(of_block[1].astype(np.uint64))
    return np.concatenate(slots), np.concatenate(rows)


def assert_same_last_rows(events, lags, dense):
    for level in range(len(lags)):
        longest = int(lags[level][-1])
        slots, rows = events.last_rows(level, longest)
        expected = level_frames(dense, level)
        assert slots.tolist() == list(range(max(0, len(expected) - longest), len(expected)))
        np.testing.assert_array_equal(rows, expected[slots])


@given(st.data())
@settings(max_examples=40)
def test_any_blocks_equal_the_reference(data):
    lags = data.draw(st.sampled_from([BOOST, EIGHT, SCIKIT_BEAM, OVERLAPPING]))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    frames = data.draw(st.integers(1, 200))
    pixels = used_pixels(rng)
    highest = data.draw(st.sampled_from([1, 3, 255, 256, 4095]))
    stream = Stream(rng, frames, pixels, data.draw(st.sampled_from([0, 1, 20])), highest)
    events = EventLevels(pixels, IMAGE_PIXELS, lags)
    cuts = data.draw(st.lists(st.integers(0, frames), max_size=6))
    slots, rows = push_cut(events, stream, cuts)
    assert_same_products(events, lags, stream.dense)
    assert_same_last_rows(events, lags, stream.dense)
    expected = level_frames(stream.dense, len(lags))
    assert slots.tolist() == list(range(len(expected)))
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(events.totals(), stream.dense.sum(axis=0))


@given(st.data())
@settings(max_examples=20)
def test_reading_in_between_changes_nothing(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    pixels = used_pixels(rng)
    stream = Stream(rng, 120, pixels, 10)
    events = EventLevels(pixels, IMAGE_PIXELS, BOOST)
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, 120), max_size=5))), 120]
    for begin, end in pairwise(edges):
        events.push(begin, stream.words, stream.offsets[begin : end + 1])
        assert_same_products(events, BOOST, stream.dense[:end])


@given(st.data())
@settings(max_examples=20)
def test_going_on_after_frames_that_others_correlated(data):
    lags = data.draw(st.sampled_from([BOOST, EIGHT, SCIKIT_BEAM]))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    pixels = used_pixels(rng)
    stream = Stream(rng, 400, pixels, 5)
    events = EventLevels(pixels, IMAGE_PIXELS, lags)
    start = data.draw(st.integers(events.reach, 399))
    begin = data.draw(st.integers(0, start - events.reach))
    events.push(0, stream.words, stream.offsets[:1])
    events.start_from(start, stream.words, stream.offsets[begin : start + 1])
    slots, rows = push_cut(events, stream, data.draw(st.lists(st.integers(start, 400), max_size=3)), start)
    assert_same_products(events, lags, stream.dense, start)
    assert_same_last_rows(events, lags, stream.dense)
    expected = level_frames(stream.dense, len(lags))
    assert slots.tolist() == list(range(start >> len(lags), len(expected)))
    np.testing.assert_array_equal(rows, expected[slots])


def test_threads_change_nothing():
    rng = np.random.default_rng(1)
    pixels = used_pixels(rng)
    stream = Stream(rng, 300, pixels, 30)
    with Threads(3) as threads:
        events = EventLevels(pixels, IMAGE_PIXELS, BOOST, threads)
        _, rows = push_cut(events, stream, [7, 110, 111])
        assert_same_products(events, BOOST, stream.dense)
        np.testing.assert_array_equal(rows, level_frames(stream.dense, LEVELS))


@pytest.mark.parametrize("words_a_frame", [1, 10])
def test_sums_beyond_16_and_32_bits_stay_exact(words_a_frame):
    """A pixel with 4,095 counts in each word: products pass 32 bits after 257 frames, or within one."""
    frames, pixels = 300 // words_a_frame, np.array([3, 4, 5000])
    words = np.full(frames * words_a_frame, 4 << 16 | 4095, np.uint64)
    offsets = np.arange(frames + 1) * words_a_frame
    events = EventLevels(pixels, IMAGE_PIXELS, SCIKIT_BEAM)
    rows = []
    for begin in range(0, frames, 15):
        _, of_block = events.push(begin, words, offsets[begin : begin + 16])
        rows.append(of_block.astype(np.uint64))
        events.totals()
    dense = np.zeros((frames, 3), np.uint64)
    dense[:, 1] = 4095 * words_a_frame
    assert_same_products(events, SCIKIT_BEAM, dense)
    np.testing.assert_array_equal(np.concatenate(rows), level_frames(dense, LEVELS))
    events.push(frames, words, offsets[:1])
    assert_same_products(events, SCIKIT_BEAM, dense)


def test_a_long_block_is_cut():
    rng = np.random.default_rng(2)
    pixels = used_pixels(rng)
    stream = Stream(rng, 9_000, pixels, 1)
    events = EventLevels(pixels, IMAGE_PIXELS, BOOST)
    _, rows = push_cut(events, stream, [])
    assert_same_products(events, BOOST, stream.dense)
    np.testing.assert_array_equal(rows, level_frames(stream.dense, LEVELS))


def test_a_stretch_starts_where_no_level_frame_is_cut():
    events = EventLevels(np.arange(5), IMAGE_PIXELS, BOOST)
    nothing = np.zeros(0, np.uint64)
    with pytest.raises(ReductionError, match="143 frames before"):
        events.start_from(33, nothing, np.zeros(1, np.int64))
    events.start_from(32, nothing, np.zeros(1, np.int64))
    with pytest.raises(ReductionError, match="from frame 33 do not go on from frame 31"):
        events.push(33, nothing, np.zeros(2, np.int64))
    slots, rows = events.push(32, nothing, np.zeros(65, np.int64))
    assert slots.tolist() == [1, 2]
    assert rows.sum() == 0


def test_levels_that_reach_too_far_are_refused():
    with pytest.raises(ReductionError, match="fewer low levels"):
        EventLevels(np.arange(5), IMAGE_PIXELS, [level_lags(level, 8) for level in range(8)])
