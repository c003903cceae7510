import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import FrameStats, Intensities, QMap, Rectangle, RoiStats, Saxs, pack_events
from apsdm_bluesky.streaming import Threads

from .reference import batch, push_split, real_frames

SHAPE = (12, 15)
QMAP = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=9)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_any_split_gives_the_same(data):
    number = data.draw(st.integers(1, 40))
    frames = np.random.default_rng(number).poisson(0.7, (number, *SHAPE)).astype(np.uint16)
    indices = np.cumsum(np.random.default_rng(number).integers(1, 4, number))
    cuts = data.draw(st.lists(st.integers(0, number), max_size=5))
    saxs = push_split(Saxs(QMAP), frames, indices, cuts).result()
    stats = push_split(FrameStats(QMAP), frames, indices, cuts).result()

    np.testing.assert_array_equal(saxs.sum_image, frames.sum(axis=0))
    means = [frames[:, QMAP.static == s].mean() for s in range(1, 7)]
    np.testing.assert_allclose(saxs.intensity, means, rtol=1e-12)
    assert saxs.frames == number
    np.testing.assert_array_equal(stats.indices, indices)
    np.testing.assert_array_equal(stats.total, frames.sum(axis=(1, 2)))
    assert stats.total.sum() == saxs.sum_image.sum()


def test_the_mask_counts_for_totals_and_bins_not_for_the_image():
    bad = np.zeros(SHAPE, bool)
    bad[5, 6] = bad[11, 14] = True
    frames = np.ones((4, *SHAPE), np.uint8)
    frames[:, bad] = 200
    saxs, stats = Saxs(QMAP.without(bad)), FrameStats(QMAP.without(bad))
    for reduction in (saxs, stats):
        reduction.push(batch(frames))
    assert saxs.result().intensity.tolist() == [1] * 6
    assert saxs.result().sum_image[5, 6] == 800
    assert stats.result().total.tolist() == [frames[0].size - 2] * 4


def test_an_empty_bin_has_no_intensity():
    saxs = Saxs(QMAP.without(QMAP.static == 2))
    saxs.push(batch(np.ones((2, *SHAPE), np.uint8)))
    np.testing.assert_array_equal(saxs.result().intensity, [1, np.nan, 1, 1, 1, 1])


def test_nothing_pushed():
    saxs, stats = Saxs(QMAP).result(), FrameStats(QMAP).result()
    assert np.isnan(saxs.intensity).all()
    assert saxs.intensity.shape == (6,)
    assert (saxs.sum_image == 0).all()
    assert saxs.frames == 0
    assert stats.indices.shape == stats.total.shape == (0,)
    assert stats.indices.dtype == stats.total.dtype == np.int64


def test_results_do_not_change_with_later_frames():
    saxs, stats = Saxs(QMAP), FrameStats(QMAP)
    for reduction in (saxs, stats):
        reduction.push(batch(np.ones((2, *SHAPE), np.uint8)))
    image, total = saxs.result().sum_image, stats.result().total
    for reduction in (saxs, stats):
        reduction.push(batch(np.ones((2, *SHAPE), np.uint8), start=2))
    assert (image == 2).all()
    assert len(total) == 2


def test_gaps_marked_with_negative_numbers_outside_the_mask():
    frames = np.ones((3, *SHAPE), np.int32)
    frames[:, QMAP.dynamic == 0] = -1
    qmap = QMAP.without(QMAP.dynamic == 0)
    saxs, stats = Saxs(qmap), FrameStats(qmap)
    for reduction in (saxs, stats):
        reduction.push(batch(frames))
    assert saxs.result().sum_image.min() == -3
    assert stats.result().total.tolist() == [np.count_nonzero(QMAP.dynamic)] * 3


@pytest.mark.parametrize("reduction_class", [Saxs, FrameStats])
@pytest.mark.parametrize(
    "wrong",
    [
        batch(np.ones((2, 3, 3), np.uint8), start=5),
        batch(np.ones((2, *SHAPE)), start=5),
        batch(np.ones((2, *SHAPE), bool), start=5),
        batch(-np.ones((2, *SHAPE), np.int8), start=5),
        batch(np.ones((2, *SHAPE), np.uint8), start=1),
        batch(np.full((2, *SHAPE), 2**63, np.uint64), start=5),
    ],
    ids=["shape", "float", "bool", "negative", "order", "beyond 64 bits"],
)
def test_what_is_refused_changes_nothing(reduction_class, wrong):
    reduction, frames = reduction_class(QMAP), np.ones((2, *SHAPE), np.uint8)
    reduction.push(batch(frames))
    with pytest.raises(ReductionError):
        reduction.push(wrong)
    reduction.push(batch(np.zeros((0, 1))))
    result = reduction.result()
    assert (result.frames if reduction_class is Saxs else len(result.indices)) == 2
    values = result.sum_image if reduction_class is Saxs else result.total
    assert values.sum() == frames.sum()


def test_the_sum_image_cannot_overflow_silently():
    """A bad pixel counts in the image alone."""
    bad = np.zeros(SHAPE, bool)
    bad[5, 6] = True
    bright = np.where(bad, 2**62, 1)[np.newaxis].astype(np.uint64)
    saxs = Saxs(QMAP.without(bad))
    saxs.push(batch(bright))
    with pytest.raises(ReductionError, match="sum image: 4611686018427387904 more counts"):
        saxs.push(batch(bright, start=1))
    np.testing.assert_array_equal(saxs.result().sum_image, bright[0])


def test_the_intensities_cannot_overflow_silently():
    stats = FrameStats(QMAP)
    bright = np.full((1, *SHAPE), 2**55, np.uint64)
    stats.push(batch(bright))
    with pytest.raises(ReductionError, match="exceeds 64 bits"):
        stats.push(batch(bright, start=1))
    assert stats.result().total.tolist() == [12 * 15 * 2**55]


ROIS = {"corner": Rectangle(x=0, y=0, width=4, height=3), "middle": np.hypot(*np.indices(SHAPE)) < 9}


def same(a, b):
    """Whether two results hold the same bits."""
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=f.name not in ("names", "frames"))
        for f in dataclasses.fields(a)
    )


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_one_pass_gives_what_each_gives_alone_in_any_split_by_any_threads(data):
    number = data.draw(st.integers(1, 90))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(0.3, (number, *SHAPE)).astype(np.uint16)
    frames[rng.random(number) < 0.2] = 0
    if data.draw(st.booleans()):
        frames[rng.random(frames.shape) < 0.01] = 4095
    indices = np.cumsum(rng.integers(1, 4, number))
    saxs, stats, rois = Saxs(QMAP), FrameStats(QMAP), RoiStats(SHAPE, ROIS, mask=QMAP.mask)
    for alone in (saxs, stats, rois):
        alone.push(batch(frames, indices))
    with Threads(data.draw(st.integers(1, 3))) as workers:
        together = Intensities(QMAP, rois=ROIS, workers=workers)
        cuts = data.draw(st.lists(st.integers(0, number), max_size=4))
        for part in np.split(np.arange(number), sorted(cuts)):
            piece = batch(frames[part], indices[part])
            together.push(piece if data.draw(st.booleans()) else pack_events(piece))
    assert same(together.saxs, saxs.result())
    assert same(together.stats, stats.result())
    assert same(together.rois, rois.result())


def test_segments_are_means_of_their_frames_and_add_up_to_the_whole():
    """150 frames of 157: segments of 4 frames, some incomplete, one without any."""
    indices = np.delete(np.arange(157), [0, 40, 41, 42, 43, 100, 156])
    frames = np.random.default_rng(4).poisson(0.5, (150, *SHAPE)).astype(np.uint16)
    saxs = Saxs(QMAP)
    saxs.push(batch(frames, indices))
    result = saxs.result()
    assert result.segment_first.tolist() == list(range(0, 156, 4))
    assert result.segment_frames[[0, 1, 10, 25, 38]].tolist() == [3, 4, 0, 3, 4]
    for k, first in enumerate(result.segment_first):
        inside = frames[(indices >= first) & (indices < first + 4)]
        expected = [inside[:, QMAP.static == s].mean() if len(inside) else np.nan for s in range(1, 7)]
        np.testing.assert_allclose(result.segments[k], expected, rtol=1e-12)
    there = result.segment_frames > 0
    added = np.average(result.segments[there], axis=0, weights=result.segment_frames[there])
    np.testing.assert_allclose(added, result.intensity, rtol=1e-12)


def test_segments_stay_few():
    saxs = Saxs(QMAP)
    for index in (0, 63, 64, 2**40):
        saxs.push(batch(np.ones((1, *SHAPE), np.uint8), start=index))
        assert len(saxs.result().segments) <= 64
    assert saxs.result().segment_frames.tolist()[::32] == [3, 1]


def test_the_mean_image():
    frames = np.random.default_rng(5).poisson(0.5, (7, *SHAPE)).astype(np.uint16)
    saxs = Saxs(QMAP)
    assert np.isnan(saxs.result().mean_image).all()
    saxs.push(batch(frames))
    np.testing.assert_allclose(saxs.result().mean_image, frames.mean(axis=0), rtol=1e-15)


@pytest.mark.parametrize("kind", [lambda images: images, pack_events], ids=["images", "events"])
@pytest.mark.parametrize("shape", [(12, 15), (1, 40), (40, 1), (5, 4100)])
def test_centroids_are_those_of_numpy(kind, shape):
    rng = np.random.default_rng(6)
    mask = rng.random(shape) < 0.8
    mask.ravel()[0] = True
    qmap = QMap.rings(shape, (0, 0), dynamic_bins=1, static_per_dynamic=1, r_min=0, r_max=9, mask=mask)
    frames = rng.poisson(0.3, (6, *shape)).astype(np.uint16)
    frames[2] = 0
    frames[3] = np.where(mask, 0, 9)
    stats = FrameStats(qmap)
    stats.push(kind(batch(frames)))
    counts, (y, x) = np.where(mask, frames, 0), np.indices(shape)
    with np.errstate(invalid="ignore"):
        expected = [[(c * x).sum() / c.sum(), (c * y).sum() / c.sum()] for c in counts]
    np.testing.assert_array_equal(stats.result().centroid, expected)
    assert np.isnan(stats.result().centroid[[2, 3]]).all()


def test_a_centroid_beyond_64_bits_is_unknown():
    stats = FrameStats(QMAP)
    stats.push(batch(np.full((1, *SHAPE), 2**55, np.uint64)))
    assert np.isnan(stats.result().centroid).all()


def test_the_dtype_may_change_from_batch_to_batch():
    frames = np.random.default_rng(7).poisson(2, (40, *SHAPE))
    whole, parts = Intensities(QMAP), Intensities(QMAP)
    whole.push(batch(frames.astype(np.uint16)))
    for k, dtype in enumerate(("u1", ">u2", "i4", "u4")):
        parts.push(batch(frames[10 * k : 10 * k + 10].astype(dtype), start=10 * k))
    assert same(parts.saxs, whole.saxs)
    assert same(parts.stats, whole.stats)


def test_more_than_255_sets_of_pixels():
    static = np.arange(1, 301).reshape(15, 20).astype(np.int32)
    qmap = QMap(
        dynamic=np.where(static > 150, 2, 1).astype(np.int32),
        static=static,
        mask=np.ones((15, 20), bool),
        q=np.arange(2.0),
        static_q=np.arange(300.0),
        unit="px",
        center=(0, 0),
    )
    frames = np.random.default_rng(8).poisson(0.5, (9, 15, 20)).astype(np.uint16)
    dense, sparse = Intensities(qmap), Intensities(qmap)
    dense.push(batch(frames))
    sparse.push(pack_events(batch(frames)))
    np.testing.assert_array_equal(dense.saxs.segments, frames.reshape(9, 300))
    assert same(dense.saxs, sparse.saxs)
    assert same(dense.stats, sparse.stats)


def test_negative_and_floating_counts_change_nothing():
    """Frames before the wrong one in its batch are taken back."""
    reduction = Intensities(QMAP, rois=ROIS)
    reduction.push(batch(np.full((2, *SHAPE), 300, np.int32)))
    before = reduction.saxs, reduction.stats, reduction.rois
    wrong = np.full((3, *SHAPE), 700, np.int32)
    wrong[2, 4, 9] = -5
    with pytest.raises(ReductionError, match=r"pixel \(x=9, y=4\) counts -5 photons: mask it"):
        reduction.push(batch(wrong, start=2))
    with pytest.raises(ReductionError, match="only integer counts"):
        reduction.push(batch(np.full((1, *SHAPE), np.nan), start=2))
    for result, now in zip(before, (reduction.saxs, reduction.stats, reduction.rois), strict=True):
        assert same(now, result)


def test_the_real_frames():
    frames = real_frames()
    qmap = QMap.rings((256, 256), (143, 132), dynamic_bins=8, static_per_dynamic=3, r_max=110)
    reduction = Intensities(qmap)
    for start in range(0, 100, 30):
        reduction.push(batch(frames[start : start + 30], start=start))
    saxs, stats = reduction.saxs, reduction.stats
    np.testing.assert_array_equal(saxs.sum_image, frames.sum(axis=0))
    assert stats.total.sum() == saxs.sum_image.sum()
    means = [frames[:, qmap.static == s].mean() for s in range(1, 25)]
    np.testing.assert_allclose(saxs.intensity, means, rtol=1e-12)
    assert saxs.segment_frames.tolist() == [2] * 50
    np.testing.assert_allclose(saxs.segments.mean(axis=0), saxs.intensity, rtol=1e-12)
    x, y = frames.sum(axis=1) @ np.arange(256), frames.sum(axis=2) @ np.arange(256)
    np.testing.assert_array_equal(stats.centroid, np.stack([x, y], axis=1) / stats.total[:, None])
