"""Multi-tau beyond the default: scikit-beam's definition, segments, sums per pixel, every width."""

import numpy as np
import pytest

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import MultiTau, QMap, multitau_delays

from .reference import batch, push_split
from .test_multitau import QMAP, SHAPE, assert_equals_reference, reduce, same_bits


def level_frames(frames, indices):
    """Of each level the frames, by slot, as means."""
    level = {int(i): frame.astype(np.float64) for i, frame in zip(indices, frames, strict=True)}
    while level:
        yield level
        level = {n // 2: (x + level[n + 1]) / 2 for n, x in level.items() if n % 2 == 0 and n + 1 in level}


def pixel_means(frames, indices, first, delays_per_level=4):
    """{delay: (pairs, G2, IP, IF)} of every delay with a pair, images."""
    found = {}
    for depth, level in enumerate(level_frames(frames, indices)):
        begin = first if depth == 0 else first + delays_per_level
        for k in range(begin, first + 2 * delays_per_level):
            pairs = [n for n in level if n + k in level]
            if pairs:
                sums = (
                    [level[n] * level[n + k] for n in pairs],
                    [level[n] for n in pairs],
                    [level[n + k] for n in pairs],
                )
                found[k << depth] = (len(pairs), *(np.mean(x, axis=0) for x in sums))
    return found


@pytest.mark.parametrize("gaps", [False, True])
def test_scikit_beams_definition(gaps):
    rng = np.random.default_rng(1)
    indices = np.flatnonzero(rng.random(150) < 0.8) if gaps else np.arange(150)
    frames = rng.poisson(2, (len(indices), *SHAPE)).astype(np.uint16)
    result = reduce(frames, indices, definition="scikit-beam")
    assert result.delays[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14]
    np.testing.assert_array_equal(result.delays, multitau_delays(int(indices[-1]) + 1, 4, "scikit-beam"))
    expected = pixel_means(frames, indices, first=0)
    for i, delay in enumerate(result.delays.tolist()):
        pairs, G2, IP, IF = expected.get(delay, (0, 0, 0, 0))
        assert result.pairs[i] == pairs
        for b in range(3) if pairs else ():
            inside = QMAP.dynamic == b + 1
            ratio = G2[inside].mean() / (IP[inside].mean() * IF[inside].mean())
            assert result.g2[i, b] == pytest.approx(ratio, rel=1e-9)


def test_scikit_beam_has_a_delay_after_one_frame():
    result = reduce(np.full((1, *SHAPE), 3, np.uint8), definition="scikit-beam")
    assert result.delays.tolist() == [0]
    np.testing.assert_allclose(result.g2, 1)


def test_an_unknown_definition_is_refused():
    with pytest.raises(ReductionError, match="choose one of boost-corr, scikit-beam"):
        MultiTau(QMAP, definition="pychx")


def test_pixel_sums_are_means_over_the_valid_pairs():
    rng = np.random.default_rng(2)
    indices = np.flatnonzero(rng.random(120) < 0.8)
    frames = rng.poisson(2, (len(indices), *SHAPE)).astype(np.uint16)
    reduction = MultiTau(QMAP)
    reduction.push(batch(frames, indices))
    sums = reduction.pixel_sums()
    np.testing.assert_array_equal(sums.pixels, np.flatnonzero(QMAP.dynamic))
    expected = pixel_means(frames, indices, first=1)
    for i, delay in enumerate(sums.delays.tolist()):
        if delay not in expected:
            assert np.isnan([sums.G2[i], sums.IP[i], sums.IF[i]]).all()
            continue
        for values, image in zip((sums.G2, sums.IP, sums.IF), expected[delay][1:], strict=True):
            np.testing.assert_allclose(values[i], image.ravel()[sums.pixels], rtol=1e-12)


# --- segments ---


@pytest.mark.parametrize("gaps", [False, True])
def test_a_segment_has_the_pairs_whose_later_frame_lies_in_it(gaps):
    rng = np.random.default_rng(3)
    indices = np.flatnonzero(rng.random(130) < 0.9) if gaps else np.arange(130)
    frames = rng.poisson(2, (len(indices), *SHAPE)).astype(np.uint16)
    segments = reduce(frames, indices, segment_frames=40).segments
    assert segments.first.tolist() == [0, 40, 80, 120]
    assert segments.frames.tolist() == [int(((indices // 40) == k).sum()) for k in range(4)]
    level = {int(i): frame.astype(float) for i, frame in zip(indices, frames, strict=True)}
    for k in range(4):
        pairs = [n for n in level if n + 3 in level and (n + 3) // 40 == k]
        G2, IP, IF = (
            np.sum([level[n] * level[n + 3] for n in pairs], axis=0),
            np.sum([level[n] for n in pairs], axis=0),
            np.sum([level[n + 3] for n in pairs], axis=0),
        )
        for b in range(3):
            bins = [QMAP.static == s for s in np.unique(QMAP.static[QMAP.dynamic == b + 1])]
            ratios = [len(pairs) * G2[s].mean() / (IP[s].mean() * IF[s].mean()) for s in bins]
            assert segments.g2[k, 2, b] == pytest.approx(np.mean(ratios), rel=1e-9)


def test_one_segment_is_the_series():
    frames = np.random.default_rng(4).poisson(1, (50, *SHAPE)).astype(np.uint8)
    result = reduce(frames, segment_frames=50)
    assert result.segments.first.tolist() == [0]
    np.testing.assert_allclose(result.segments.g2[0], result.g2, rtol=1e-12)
    assert reduce(frames).segments is None


def test_segments_do_not_depend_on_the_split_and_are_at_most_64():
    rng = np.random.default_rng(5)
    indices = np.concatenate([np.arange(300), 290 + np.arange(300, 600)])
    frames = rng.poisson(1, (600, *SHAPE)).astype(np.uint8)
    whole = reduce(frames, indices, segment_frames=5)
    assert whole.segments.first.tolist() == list(range(0, 890, 20))
    assert whole.segments.frames.sum() == 600
    parts = push_split(MultiTau(QMAP, segment_frames=5), frames, indices, range(7, 600, 31)).result()
    assert same_bits(parts, whole)
    wide = reduce(frames, indices, segment_frames=20)
    np.testing.assert_allclose(wide.segments.g2, whole.segments.g2, rtol=1e-12)


def test_a_far_jump_makes_wide_segments():
    frames = np.random.default_rng(6).poisson(1, (12, *SHAPE)).astype(np.uint8)
    segments = reduce(frames, np.r_[0:6, 2**40 : 2**40 + 6], segment_frames=3).segments
    assert len(segments.first) <= 64
    assert segments.frames[0] == segments.frames[-1] == 6
    assert np.isnan(segments.g2[1:-1]).all()


def test_segments_before_the_first_frame():
    segments = MultiTau(QMAP, segment_frames=10).result().segments
    assert segments.first.shape == (0,)
    assert segments.g2.shape == (0, 0, 3)


def test_segments_of_negative_length_are_refused():
    with pytest.raises(ReductionError, match="0 for none"):
        MultiTau(QMAP, segment_frames=-1)


# --- widths: each bound of the loops is passed by a bit ---

WIDTHS = {
    "sums of products in 16 bits": 90,
    "in 32 bits": 91,
    "rows of 16 bits": 23_170,
    "rows of 32 bits": 23_171,
    "16-bit counts": 65_535,
    "32-bit counts": 65_536,
    "a level sum beyond 16 bits": 300,
    "products beyond 32 bits": 40_000_000,
}


@pytest.mark.parametrize("name", WIDTHS)
def test_every_width_is_exact(name):
    highest = WIDTHS[name]
    frames = np.random.default_rng(7).integers(highest - highest // 9, highest + 1, (100, *SHAPE))
    frames[40:60] //= 1000
    reduction = MultiTau(QMAP)
    for start in range(0, 100, 37):
        reduction.push(batch(frames[start : start + 37].astype(np.uint32), start=start))
    assert_equals_reference(reduction.result(), frames, np.arange(100), QMAP)


def test_sums_of_products_move_to_64_bits_in_time():
    """90^2 x 600,000 products are 4.9e9: beyond 32 bits, added in blocks of 8 rows."""
    qmap = QMap.rings((4, 4), (1.5, 1.5), dynamic_bins=1, static_per_dynamic=1, r_min=0, r_max=3)
    reduction, frames = MultiTau(qmap), np.full((60_000, 4, 4), 90, np.uint8)
    for start in range(0, 600_000, 60_000):
        reduction.push(batch(frames, start=start))
    np.testing.assert_array_equal(reduction.pixel_sums().G2, 8100)
    np.testing.assert_array_equal(reduction.result().g2, 1)


def test_a_bright_frame_widens_its_tile_only_while_it_is_remembered():
    qmap = QMap.rings((40, 40), (19.5, 19.5), dynamic_bins=2, static_per_dynamic=2)
    frames = np.random.default_rng(8).poisson(1, (200, 40, 40)).astype(np.uint32)
    frames[50, 3, 19] = 3_000_000
    reduction = MultiTau(qmap)
    reduction.push(batch(frames[:52]))
    assert (reduction._levels.dense.state.peak[0] > 65_535).sum() == 1
    reduction.push(batch(frames[52:], start=52))
    assert (reduction._levels.dense.state.peak[0] < 100).all()
    assert_equals_reference(reduction.result(), frames, np.arange(200), qmap)
