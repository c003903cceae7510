"""Quality: 0 within its errors in stationary series, and what was put in is found."""

import numpy as np
import pytest

from apsdm_bluesky.reduction import FrameStats, QMap, TwoTime, assess_quality, find_hot_pixels

from .reference import batch, real_frames

SHAPE = (32, 32)
QMAP = QMap.rings(SHAPE, (15.5, 15.5), dynamic_bins=2, static_per_dynamic=2, r_min=0, r_max=16)
FRAMES = 256


def speckle(seed, rate=0.3, brightness=1.0):
    """Frames of a complex AR(1) field; rate and brightness may be given a frame."""
    rng = np.random.default_rng(seed)
    rates, levels = np.broadcast_to(rate, FRAMES), np.broadcast_to(brightness, FRAMES)
    field = rng.standard_normal((2, *SHAPE))
    frames = np.empty((FRAMES, *SHAPE), np.uint16)
    for k in range(FRAMES):
        keep = np.exp(-rates[k])
        field = keep * field + np.sqrt(1 - keep**2) * rng.standard_normal((2, *SHAPE))
        frames[k] = rng.poisson(levels[k] * (field**2).sum(axis=0) / 2)
    return frames


def assessed(frames):
    stats, two_time = FrameStats(QMAP), TwoTime(QMAP)
    for reduction in (stats, two_time):
        reduction.push(batch(frames))
    return assess_quality(stats.result(), two_time.result())


def named(quality, name):
    return [each for each in quality.indicators if each.name == name]


def test_stationary_speckle_has_nothing_and_its_pulls_are_normal():
    pulls = {}
    for seed in range(30):
        for each in assessed(speckle(seed)).indicators:
            pulls.setdefault((each.name, each.bin), []).append(each.significance)
            if each.name != "intensity step":
                assert each.error > 0
    assert len(pulls) == 8
    values = np.array(list(pulls.values()))
    assert np.abs(values).max() < 4
    smooth = np.array([v for (name, _), v in pulls.items() if name != "intensity step"])
    # 210 of them, not all independent: at 4 sigma of 100 independent ones.
    assert abs(smooth.mean()) < 4 / np.sqrt(100)
    assert abs((smooth**2).mean() - 1) < 4 * np.sqrt(2 / 100)


def test_a_drift_is_found_with_its_size():
    quality = assessed(speckle(1, brightness=np.linspace(1.1, 0.9, FRAMES)))
    for each in named(quality, "intensity drift"):
        assert each.significance < -4
        assert abs(each.value + 0.2) < 4 * each.error
    assert [each.bin for each in named(quality, "intensity drift")] == [None, 1, 2]
    assert abs(named(quality, "intensity step")[0].significance) < 4


@pytest.mark.parametrize("frame", [70, 163, 200])
def test_a_jump_is_found_at_its_frame(frame):
    (step,) = named(
        assessed(speckle(2, brightness=np.where(np.arange(FRAMES) < frame, 1, 1.5))), "intensity step"
    )
    assert step.significance > 4
    assert abs(step.index - frame) <= 3
    assert abs(step.value - 0.5 * FRAMES / (1.5 * FRAMES - 0.5 * frame)) < 4 * step.error


@pytest.mark.parametrize(("early", "late", "sign"), [(0.4, 0.08, 1), (0.08, 0.4, -1)])
def test_a_change_of_the_dynamics_is_found(early, late, sign):
    quality = assessed(speckle(3, rate=np.where(np.arange(FRAMES) < FRAMES / 2, early, late)))
    ageing = named(quality, "ageing")
    assert [each.bin for each in ageing] == [1, 2]
    assert all(sign * each.significance > 4 for each in ageing)
    assert set(ageing) <= set(quality.beyond(4))


def test_a_moving_beam_is_found():
    frames = speckle(4)
    frames[FRAMES // 2 :, :, :8] += 1
    (x,), (y,) = (named(assessed(frames), f"centroid drift in {axis}") for axis in "xy")
    assert x.significance < -4
    assert abs(y.significance) < 4


def test_gaps_and_bins_without_pixels():
    frames, indices = speckle(5), np.arange(FRAMES) + 200 * (np.arange(FRAMES) > 100)
    stats = FrameStats(QMAP.without(QMAP.dynamic == 2))
    stats.push(batch(frames, indices))
    drifts = named(assess_quality(stats.result()), "intensity drift")
    assert abs(drifts[1].significance) < 4
    assert np.isnan([drifts[2].value, drifts[2].error, drifts[2].significance]).all()


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_a_series_that_is_too_short_has_no_indicators(number):
    stats, two_time = FrameStats(QMAP), TwoTime(QMAP)
    for reduction in (stats, two_time):
        reduction.push(batch(np.ones((number, *SHAPE), np.uint8)))
    quality = assess_quality(stats.result(), two_time.result())
    assert all(np.isnan([each.value, each.error, each.significance]).all() for each in quality.indicators)
    assert quality.beyond(0) == ()


def test_constant_and_empty_frames_have_no_error():
    for level in (0, 3):
        quality = assessed(np.full((FRAMES, *SHAPE), level, np.uint8))
        assert quality.beyond(3) == ()


def test_the_real_frames():
    qmap = QMap.rings((256, 256), (143, 132), dynamic_bins=2, r_min=25, r_max=100)
    dense = batch(real_frames())
    stats = FrameStats(qmap.without(find_hot_pixels(dense, qmap)))
    stats.push(dense)
    for each in named(assess_quality(stats.result()), "intensity drift"):
        assert abs(each.significance) < 4
        assert 0.005 < each.error < 0.05
