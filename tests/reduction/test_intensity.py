import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import FrameStats, QMap, Saxs

from .reference import batch, push_split

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
    with pytest.raises(ReductionError, match="sum image: counts up to 4611686018427387904 could exceed 64 bits"):
        saxs.push(batch(bright, start=1))
    np.testing.assert_array_equal(saxs.result().sum_image, bright[0])


def test_the_intensities_cannot_overflow_silently():
    stats = FrameStats(QMAP)
    bright = np.full((1, *SHAPE), 2**55, np.uint64)
    stats.push(batch(bright))
    with pytest.raises(ReductionError, match="exceeds 64 bits"):
        stats.push(batch(bright, start=1))
    assert stats.result().total.tolist() == [12 * 15 * 2**55]
