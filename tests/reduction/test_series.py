"""Frames held back while hot pixels are looked for, of either kind."""

import numpy as np
import pytest

from apsdm_bluesky.reduction import MultiTau, QMap, SeriesReduction, SeriesSettings, pack_events

from .reference import batch

SHAPE = (40, 40)
QMAP = QMap.rings(SHAPE, (19.5, 19.5), dynamic_bins=3)
KINDS = {"images": lambda images: images, "events": pack_events}


def frames_with_a_spike(number, at):
    frames = np.random.default_rng(1).poisson(0.5, (number, *SHAPE)).astype(np.uint16)
    frames[at, 10, 12] = 2000
    return frames


def reduced(frames, sizes, kind):
    series = SeriesReduction(QMAP, SeriesSettings(hot_pixel_frames=20))
    for part in np.split(np.arange(len(frames)), np.cumsum(sizes)):
        series.push(kind(batch(frames[part], part)))
    return series.result()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("sizes", [[], [15], [15, 30], [1] * 25])
@pytest.mark.parametrize(("at", "hot"), [(19, 1), (20, 0)])
def test_exactly_the_first_frames_tell_hot_pixels(kind, sizes, at, hot):
    frames = frames_with_a_spike(60, at)
    result = reduced(frames, sizes, kind)
    assert result.hot_pixels.sum() == result.hot_pixels[10, 12] == hot
    assert result.sha256 == reduced(frames, [], KINDS["images"]).sha256
    assert result.saxs.frames == 60


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_held_back_outlives_the_ring(kind):
    frames = frames_with_a_spike(10, 3)
    series = SeriesReduction(QMAP, SeriesSettings(hot_pixel_frames=20))
    ring = kind(batch(frames.copy()))
    series.push(ring)
    (ring.words if kind is pack_events else ring.frames)[:] = 0
    np.testing.assert_array_equal(series.result().saxs.sum_image, frames.sum(axis=0))


def test_events_of_more_frames_than_are_spread_at_a_time():
    frames = np.random.default_rng(2).poisson(0.4, (200, *SHAPE)).astype(np.uint16)
    indices = np.delete(np.arange(210), np.arange(50, 60))
    dense, sparse = MultiTau(QMAP), MultiTau(QMAP)
    dense.push(batch(frames, indices))
    sparse.push(pack_events(batch(frames, indices)))
    for name in ("delays", "pairs", "g2", "g2_err", "jackknife"):
        np.testing.assert_array_equal(getattr(dense.result(), name), getattr(sparse.result(), name))
