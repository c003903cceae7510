"""A whole series with input that is no good, or hardly any: a defined result, or a refusal."""

import numpy as np
import pytest

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import QMap, Rectangle, SeriesReduction, SeriesSettings

SHAPE = (24, 24)
QMAP = QMap.rings(SHAPE, (11.5, 11.5), dynamic_bins=2, static_per_dynamic=2, r_min=2, r_max=11)
SETTINGS = SeriesSettings(
    hot_pixel_frames=4,
    segment_frames=8,
    rois={"middle": Rectangle(x=8, y=8, width=4, height=4)},
    two_time_bins=(1, 2),
)
FRAMES = np.random.default_rng(1).poisson(0.7, (40, *SHAPE)).astype(np.uint16)


def batch(frames, start=0):
    return FrameBatch(frames=frames, indices=np.arange(start, start + len(frames)))


def reduce(*parts):
    series, start = SeriesReduction(QMAP, SETTINGS), 0
    for part in parts:
        series.push(batch(part, start))
        start += len(part)
    return series.result()


def test_an_empty_stream_has_a_result_without_numbers():
    result = SeriesReduction(QMAP, SETTINGS).result()
    assert result.multitau.delays.size == result.stats.total.size == 0
    assert result.saxs.frames == result.saxs.sum_image.sum() == 0
    assert np.isnan(result.saxs.intensity).all()
    assert np.isnan(result.decays.gamma).all()
    assert all(result.decays.reasons)
    assert np.isnan([each.error for each in result.quality.indicators]).all()


def test_one_frame_has_intensities_and_no_correlation():
    result = reduce(FRAMES[:1])
    assert result.multitau.delays.size == 0
    assert result.stats.total.tolist() == [FRAMES[0].sum()]
    assert result.two_time.c2.shape == (2, 1, 1)
    assert result.rois.sums.tolist() == [[FRAMES[0, 8:12, 8:12].sum()]]
    assert np.isnan(result.decays.gamma).all()


def test_frames_without_a_photon_have_no_g2():
    result = reduce(np.zeros((20, *SHAPE), np.uint16))
    assert result.multitau.pairs[0] == 19
    assert np.isnan(result.multitau.g2).all()
    assert np.isnan(result.stats.centroid).all()
    assert result.saxs.intensity.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full((3, *SHAPE), np.nan), "only integer counts"),
        (FRAMES[:3].astype(np.float32), "only integer counts"),
        (np.full((3, *SHAPE), -1, np.int32), "mask it"),
        (FRAMES[:3, :-1], "do not fit the q-map"),
        (FRAMES[:3, 0], r"need \(n, ny, nx\)"),
        (np.full((3, *SHAPE), 2**32 - 1, np.uint32), "passes 4294967295 counts"),
    ],
)
def test_what_is_refused_changes_nothing(frames, message):
    series = SeriesReduction(QMAP, SETTINGS)
    series.push(batch(FRAMES[:20]))
    before = series.result().sha256
    with pytest.raises(ReductionError, match=message):
        series.push(batch(frames, 20))
    assert series.result().sha256 == before
    series.push(batch(FRAMES[20:], 20))
    assert series.result().sha256 == reduce(FRAMES).sha256


def test_another_dtype_of_integers_in_mid_stream_counts_the_same():
    mixed = reduce(FRAMES[:10], FRAMES[10:20].astype(np.uint8), FRAMES[20:30].astype(np.int64), FRAMES[30:])
    assert mixed.sha256 == reduce(FRAMES).sha256


def test_a_mask_without_pixels_is_refused():
    with pytest.raises(ReductionError, match="uses no pixel"):
        QMap.rings(SHAPE, (11.5, 11.5), mask=np.zeros(SHAPE, bool))


def test_a_region_or_bin_that_is_not_there_is_refused_before_any_frame_counts():
    for settings, message in (
        (SeriesSettings(rois={"out": Rectangle(x=20, y=0, width=9, height=2)}), "out"),
        (SeriesSettings(two_time_bins=(9,)), "9"),
    ):
        with pytest.raises(ReductionError, match=message):
            SeriesReduction(QMAP, settings).push(batch(FRAMES))
