"""Packed events: dense equals sparse, bit for bit, in any split and any mixture."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import (
    FrameStats,
    MultiTau,
    QMap,
    Saxs,
    SeriesReduction,
    SeriesSettings,
    event_offsets,
    find_hot_pixels,
    pack_events,
    unpack_events,
)

from .reference import batch

SHAPE = (12, 15)
MASK = np.ones(SHAPE, bool)
MASK[3, 4] = MASK[8, 8] = MASK[0, 0] = False
QMAP = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=7, mask=MASK)
REDUCTIONS = {"MultiTau": MultiTau, "Saxs": Saxs, "FrameStats": FrameStats, "Series": SeriesReduction}


def same(a, b):
    """Whether two results hold the same bits, whatever they are made of."""
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    numbers = np.asarray(a).dtype.kind == "f"
    return np.array_equal(a, b, equal_nan=numbers)


def split_words(events, rng):
    """The same events, in another order within each frame, some photons in words of their own."""
    words, offsets = [events.words[:0]], [0]
    for k in range(len(events)):
        frame = events.words[events.offsets[k] : events.offsets[k + 1]]
        several = (frame & np.uint64(0xFFF)) > 1
        one = np.concatenate(
            [
                frame[~several],
                frame[several] - np.uint64(1),
                (frame[several] & ~np.uint64(0xFFF)) + np.uint64(1),
            ]
        )
        words.append(rng.permutation(one))
        offsets.append(offsets[-1] + len(one))
    return dataclasses.replace(events, words=np.concatenate(words), offsets=np.array(offsets, np.int64))


@pytest.mark.parametrize("name", REDUCTIONS)
@given(st.data())
@settings(max_examples=8, deadline=None)
def test_dense_equals_sparse_in_any_split_and_mixture(name, data):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, 90), min_size=1, max_size=70))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(0.5, (len(indices), *SHAPE)).astype(np.uint16)
    frames[rng.random(len(indices)) < 0.1] = 0
    whole = REDUCTIONS[name](QMAP)
    whole.push(batch(frames, indices))
    parts = REDUCTIONS[name](QMAP)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(indices)), max_size=5)))
    for part in np.split(np.arange(len(indices)), cuts):
        piece = batch(frames[part], indices[part])
        parts.push(piece if data.draw(st.booleans()) else split_words(pack_events(piece), rng))
    assert same(parts.result(), whole.result())


def test_iqt_is_the_mean_of_each_bin_in_each_frame():
    frames = np.random.default_rng(1).poisson(0.7, (30, *SHAPE)).astype(np.uint8)
    indices = np.delete(np.arange(33), [4, 5, 20])
    stats = FrameStats(QMAP)
    stats.push(pack_events(batch(frames, indices)))
    result = stats.result()
    expected = np.full((33, 3), np.nan)
    expected[indices] = np.stack([frames[:, QMAP.dynamic == i].mean(axis=1) for i in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(result.iqt, expected, rtol=1e-12)
    assert result.iqt_first.tolist() == list(range(33))
    assert result.iqt_frames.tolist() == [int(i in indices) for i in range(33)]
    np.testing.assert_array_equal(result.total, frames[:, MASK].sum(axis=1))


def test_iqt_of_a_long_series_is_bounded_and_adds_up():
    number = 10_000
    frames = np.random.default_rng(2).integers(0, 3, (number, 4, 4)).astype(np.uint8)
    qmap = QMap.rings((4, 4), (1.5, 1.5), dynamic_bins=2, static_per_dynamic=1, r_min=0, r_max=3)
    indices = np.delete(np.arange(number + 1), 77)
    whole, parts = FrameStats(qmap), FrameStats(qmap)
    whole.push(batch(frames, indices))
    for part in np.array_split(np.arange(number), 13):
        parts.push(pack_events(batch(frames[part], indices[part])))
    result = whole.result()
    assert same(parts.result(), result)
    assert result.iqt_first.tolist() == list(range(0, number + 1, 4))
    assert result.iqt_frames[[18, 19, 20, -1]].tolist() == [4, 3, 4, 1]
    pixels = np.bincount(qmap.dynamic.ravel())[1:]
    counts = result.iqt * result.iqt_frames[:, None] * pixels
    np.testing.assert_allclose(
        counts.sum(axis=0), [frames[:, qmap.dynamic == i].sum() for i in (1, 2)], rtol=1e-9
    )


def test_a_far_jump_keeps_iqt_bounded():
    stats = FrameStats(QMAP)
    stats.push(batch(np.ones((2, *SHAPE), np.uint8), [0, 2**40]))
    result = stats.result()
    assert len(result.iqt) <= 4096
    assert (result.iqt_frames[0], result.iqt_frames[-1], result.iqt_frames.sum()) == (1, 1, 2)
    assert np.isnan(result.iqt[1]).all()


def test_words_of_one_pixel_add_up_beyond_sixteen_bits():
    """21 words of 4095 photons: 85,995 counts do not fit uint16."""
    pixel = int(QMAP.pixels[7])
    words = np.full(21, (pixel << 16) | 4095, np.uint64)
    events = EventBatch(words=words, offsets=np.array([0, 21]), indices=np.array([0]), shape=SHAPE)
    dense = unpack_events(events)
    assert (dense.frames.dtype, dense.frames.ravel()[pixel]) == (np.uint32, 21 * 4095)
    for reduction_class in REDUCTIONS.values():
        sparse, whole = reduction_class(QMAP), reduction_class(QMAP)
        sparse.push(events)
        whole.push(dense)
        assert same(sparse.result(), whole.result())


def test_hot_pixels_are_the_same_in_events():
    qmap = QMap.rings((64, 64), (31.5, 31.5))
    frames = np.random.default_rng(3).poisson(0.3, (20, 64, 64)).astype(np.uint16)
    frames[:, 40, 20] = 300
    dense = batch(frames)
    found = find_hot_pixels(pack_events(dense), qmap)
    assert np.argwhere(found).tolist() == [[40, 20]]
    np.testing.assert_array_equal(found, find_hot_pixels(dense, qmap))


def sound(start=5):
    return pack_events(batch(np.ones((2, *SHAPE), np.uint8), start=start))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (15, 12)}, "do not fit the q-map"),
        ({"words": np.full(360, 180 << 16 | 1, np.uint64)}, "pixel 180 lies outside"),
        ({"words": np.full(360, (1 << 37) - 1, np.uint64)}, "lies outside"),
        ({"words": np.ones(360, np.int64)}, "events in words of int64"),
        ({"offsets": np.array([0, 180, 361])}, "do not cut 360"),
        ({"offsets": np.array([1, 180, 360])}, "do not cut 360"),
        ({"offsets": np.array([0, 400, 360])}, "do not cut 360"),
        ({"offsets": np.array([0, 360])}, "indices of shape"),
        ({"indices": np.array([1, 2])}, "must increase"),
        ({"indices": np.array([6, 6])}, "must increase"),
    ],
)
def test_events_that_are_refused_change_nothing(name, change, message):
    reduction = REDUCTIONS[name](QMAP, *([SeriesSettings(hot_pixel_frames=0)] if name == "Series" else []))
    reduction.push(sound(start=1))
    before = reduction.result()
    with pytest.raises(ReductionError, match=message):
        reduction.push(dataclasses.replace(sound(), **change))
    assert same(reduction.result(), before)


def test_a_total_that_passes_32_bits_is_refused():
    reduction = MultiTau(QMAP)
    reduction.push(batch(np.full((1, *SHAPE), 2**32 - 2, np.uint32)))
    before = reduction.result()
    with pytest.raises(ReductionError, match="passes 4294967295 counts"):
        reduction.push(pack_events(batch(np.full((1, *SHAPE), 2, np.uint8), start=1)))
    assert same(reduction.result(), before)


def test_frames_without_any_event():
    events = pack_events(batch(np.zeros((3, *SHAPE), np.uint8)))
    saxs, stats, multitau = Saxs(QMAP), FrameStats(QMAP), MultiTau(QMAP)
    for reduction in (saxs, stats, multitau):
        reduction.push(events)
    assert saxs.result().frames == 3
    assert stats.result().total.tolist() == [0, 0, 0]
    assert (stats.result().iqt == 0).all()
    assert multitau.result().pairs.tolist() == [2, 1]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_words_are_cut_into_frames_or_the_first_wrong_one_is_named(data):
    first, number = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 8))
    frames = sorted(data.draw(st.lists(st.integers(first, first + max(number, 1) - 1), max_size=30)))
    pixels = data.draw(st.lists(st.integers(0, 9), min_size=len(frames), max_size=len(frames)))
    words = np.array([f << 40 | p << 16 | 3 for f, p in zip(frames, pixels, strict=True)], np.uint64)
    if len(words) and data.draw(st.booleans()):
        flipped = data.draw(st.sampled_from([12, 16, 17, 19, 36, 40, 41, 43, 63]))
        words[data.draw(st.integers(0, len(words) - 1))] ^= np.uint64(1 << flipped)
    offsets = np.zeros(number + 1, np.int64)
    wrong = event_offsets(words, first, 10, offsets)
    latest = first
    for place, word in enumerate(words.tolist()):
        frame, pixel = word >> 40, word >> 16 & 0x1FFFFF
        if not latest <= frame < first + number or pixel >= 10:
            assert wrong == place
            return
        latest = frame
    assert wrong == -1
    assert offsets.tolist() == [sum(w >> 40 < first + k for w in words.tolist()) for k in range(number)] + [
        len(words)
    ]


def test_the_sum_image_of_bright_events_is_exact():
    """600,000 words of 4095 photons fit 32 bits once, not twice; 1,200,000 do not."""
    pixel = int(QMAP.pixels[7])
    saxs, words = Saxs(QMAP), 0
    for index, number in enumerate((600_000, 600_000, 1_200_000, 600_000)):
        bright = np.full(number, pixel << 16 | 4095, np.uint64)
        saxs.push(
            EventBatch(words=bright, offsets=np.array([0, number]), indices=np.array([index]), shape=SHAPE)
        )
        words += number
    image = saxs.result().sum_image
    assert image.sum() == image.ravel()[pixel] == words * 4095
