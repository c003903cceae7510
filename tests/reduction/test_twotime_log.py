"""MultiTauTwoTime is TwoTime's C2 along the diagonals of the multi-tau delays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import MultiTauTwoTime, QMap, multitau_delays, pack_events
from apsdm_bluesky.streaming import Threads

from .reference import batch, push_split
from .test_twotime import QMAP, SHAPE, reference_c2, same


def reference(frames, indices, level, lag, rows_width, qmap=QMAP):
    """(age row, C2 of each bin) of every pair of a level."""
    whole = {int(i): frame.astype(float) for i, frame in zip(indices, frames, strict=True)}
    for _ in range(level):
        whole = {n // 2: whole[n] + whole[n + 1] for n in whole if n % 2 == 0 and n + 1 in whole}
    for n in sorted(whole):
        if n + lag in whole:
            c2 = reference_c2(np.stack([whole[n], whole[n + lag]]), [0, 1], qmap)[:, 0, 1]
            yield ((2 * n + lag + 1) << level) // 2 // rows_width, c2


@given(st.data())
@settings(max_examples=8, deadline=None)
def test_the_definition_in_any_split_dense_or_sparse(data):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, 60), min_size=2, max_size=50))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(data.draw(st.sampled_from([0.3, 20])), (len(indices), *SHAPE)).astype(np.uint16)
    whole = push_split(MultiTauTwoTime(QMAP, rows=8), frames, indices, []).result()
    assert whole.width == max(2 ** int(np.ceil(np.log2((indices[-1] + 1) / 8))), 1)
    for t, (delay, level) in enumerate(zip(whole.delays, whole.levels, strict=True)):
        values = list(reference(frames, indices, int(level), int(delay >> level), whole.width))
        for row in range(len(whole.first)):
            inside = np.array([c2 for age, c2 in values if age == row]).reshape(-1, 3)
            known = np.isfinite(inside)
            assert whole.pairs[:, row, t].tolist() == known.sum(axis=0).tolist()
            for b in np.flatnonzero(known.any(axis=0)):
                mean = inside[known[:, b], b].mean()
                np.testing.assert_allclose(whole.c2[b, row, t], mean, rtol=1e-12)
    assert np.isnan(whole.c2[whole.pairs == 0]).all()

    parts = MultiTauTwoTime(QMAP, rows=8)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(indices)), max_size=5)))
    for part in np.split(np.arange(len(indices)), cuts):
        piece = batch(frames[part], indices[part])
        parts.push(piece if data.draw(st.booleans()) else pack_events(piece))
    assert same(parts.result(), whole)


def test_threads_and_chosen_bins_change_no_number():
    frames = np.random.default_rng(3).poisson(0.4, (100, *SHAPE)).astype(np.uint16)
    whole = push_split(MultiTauTwoTime(QMAP), frames, np.arange(100), []).result()
    with Threads(3) as threads:
        other = push_split(MultiTauTwoTime(QMAP, workers=threads), frames, np.arange(100), [50]).result()
        chosen = push_split(MultiTauTwoTime(QMAP, bins=[3, 1]), frames, np.arange(100), []).result()
    assert same(other, whole)
    np.testing.assert_array_equal(chosen.c2, whole.c2[[2, 0]])
    assert whole.delays.tolist() == multitau_delays(100).tolist()


def test_constant_frames_have_no_contrast():
    result = push_split(MultiTauTwoTime(QMAP), np.full((50, *SHAPE), 3, np.uint8), np.arange(50), []).result()
    assert (result.c2[result.pairs > 0] == 1).all()
    assert (result.g2 == 1).all()


def test_little_or_nothing():
    reduction = MultiTauTwoTime(QMAP.without(QMAP.dynamic == 2))
    assert reduction.result().c2.shape == (3, 0, 0)
    reduction.push(batch(np.ones((1, *SHAPE), np.uint8)))
    assert reduction.result().c2.shape == (3, 1, 0)
    reduction.push(batch(np.ones((1, *SHAPE), np.uint8), start=1))
    result = reduction.result()
    np.testing.assert_array_equal(result.g2, [[1, np.nan, 1]])
    assert result.pairs[:, :, 0].tolist() == [[0, 1], [0, 0], [0, 1]]


def test_a_far_jump_keeps_the_rows_bounded():
    reduction = MultiTauTwoTime(QMAP, rows=16)
    reduction.push(batch(np.ones((3, *SHAPE), np.uint8), [0, 1, 2**40]))
    result = reduction.result()
    assert len(result.first) <= 16
    assert result.pairs[0, 0].tolist() == [1]


@pytest.mark.parametrize("options", [{"rows": 3}, {"rows": 0}, {"delays_per_level": 0}])
def test_options_that_cannot_be(options):
    with pytest.raises(ReductionError, match="age rows"):
        MultiTauTwoTime(QMAP, **options)


def test_what_is_refused_changes_nothing():
    reduction = MultiTauTwoTime(QMAP)
    reduction.push(batch(np.ones((2, *SHAPE), np.uint8)))
    before = reduction.result()
    for wrong in (np.ones((2, *SHAPE)), np.full((2, *SHAPE), 2**31, np.uint32)):
        with pytest.raises(ReductionError):
            reduction.push(batch(wrong, start=2))
    assert same(reduction.result(), before)


def test_a_single_static_bin_and_counts_beyond_16_bits():
    qmap = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=1, static_per_dynamic=1, r_min=0, r_max=7)
    frames = np.random.default_rng(1).integers(0, 2**24, (20, *SHAPE)).astype(np.uint32)
    result = push_split(MultiTauTwoTime(qmap), frames, np.arange(20), []).result()
    c2 = reference_c2(frames, np.arange(20), qmap)[0]
    for t in range(8):
        np.testing.assert_allclose(result.g2[t, 0], np.diagonal(c2, t + 1).mean(), rtol=1e-12)
