from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import MultiTau, QMap, multitau_delays

from .reference import batch, push_split, real_frames, reference_g2

SHAPE = (12, 15)
QMAP = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=9)


def reduce(frames, indices=None, qmap=QMAP, **options):
    reduction = MultiTau(qmap, **options)
    reduction.push(batch(frames, indices))
    return reduction.result()


def assert_equals_reference(result, frames, indices, qmap, delays_per_level=4):
    rows = reference_g2(frames, indices, qmap, delays_per_level)
    assert result.delays.tolist() == [row[0] for row in rows]
    assert result.pairs.tolist() == [row[1] for row in rows]
    shape = (len(rows), len(qmap.q))
    np.testing.assert_allclose(result.g2, np.reshape([row[2] for row in rows], shape), rtol=1e-9)
    np.testing.assert_allclose(
        result.g2_err, np.reshape([row[3] for row in rows], shape), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(result.delays, multitau_delays(int(indices[-1]) + 1, delays_per_level))


def same_bits(a, b):
    parts = [(a, b)] if a.segments is None else [(a, b), (a.segments, b.segments)]
    return all(
        np.array_equal(getattr(x, field.name), getattr(y, field.name), equal_nan=True)
        for x, y in parts
        for field in fields(x)
        if field.name != "segments"
    )


@pytest.mark.parametrize("number", [2, 3, 5, 7, 8, 9, 31, 64, 100, 301])
def test_any_length_equals_the_reference(number):
    frames = np.random.default_rng(number).poisson(0.7, (number, *SHAPE)).astype(np.uint16)
    assert_equals_reference(reduce(frames), frames, np.arange(number), QMAP)


@pytest.mark.parametrize("delays_per_level", [1, 2, 3, 8])
def test_other_numbers_of_delays_equal_the_reference(delays_per_level):
    frames = np.random.default_rng(1).poisson(2, (70, *SHAPE)).astype(np.uint8)
    result = reduce(frames, delays_per_level=delays_per_level)
    assert_equals_reference(result, frames, np.arange(70), QMAP, delays_per_level)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_gaps_equal_the_reference_in_any_split(data):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, 70), min_size=1, max_size=60))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(0.4, (len(indices), *SHAPE)).astype(np.uint16)
    cuts = data.draw(st.lists(st.integers(0, len(indices)), max_size=6))
    whole = reduce(frames, indices)
    assert_equals_reference(whole, frames, indices, QMAP)
    assert same_bits(push_split(MultiTau(QMAP), frames, indices, cuts).result(), whole)


def test_a_read_out_in_between_changes_nothing():
    frames = np.random.default_rng(3).poisson(0.5, (50, *SHAPE)).astype(np.uint16)
    reduction = MultiTau(QMAP)
    for i, frame in enumerate(frames):
        reduction.push(batch(frame[np.newaxis], start=i))
        partial = reduction.result()
        if i == 20:
            assert same_bits(partial, reduce(frames[:21]))
    assert same_bits(partial, reduce(frames))


def test_a_batch_longer_than_the_internal_chunk():
    frames = np.random.default_rng(4).poisson(0.5, (1300, *SHAPE)).astype(np.uint8)
    indices = np.delete(np.arange(1400), np.random.default_rng(5).choice(1399, 100, replace=False))
    assert_equals_reference(reduce(frames, indices), frames, indices, QMAP)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.uint64, ">u2", "<i8"])
def test_large_counts(dtype):
    frames = (
        np.random.default_rng(6).integers(65_000, 65_536, (80, *SHAPE))
        * (np.arange(80) % 3 > 0)[:, None, None]
    )
    if np.dtype(dtype) == np.uint32:
        frames = frames * 800
    assert_equals_reference(reduce(frames.astype(dtype)), frames, np.arange(80), QMAP)


def test_dtypes_may_change_on_the_way():
    frames = np.random.default_rng(7).poisson(3, (60, *SHAPE))
    reduction = MultiTau(QMAP)
    reduction.push(batch(frames[:20].astype(np.uint8)))
    reduction.push(batch(frames[20:40].astype(np.int64), start=20))
    reduction.push(batch(frames[40:].astype(np.uint16), start=40))
    assert same_bits(reduction.result(), reduce(frames.astype(np.uint16)))


def test_empty_frames_and_dark_bins():
    frames = np.random.default_rng(8).poisson(1, (40, *SHAPE)).astype(np.uint16)
    frames[10:20] = 0
    frames[:, QMAP.dynamic == 2] = 0
    frames[:, QMAP.static == 1] = 0
    result = reduce(frames)
    assert_equals_reference(result, frames, np.arange(40), QMAP)
    assert np.isnan(result.g2[:, 1]).all()
    assert np.isnan(result.g2_err[:, 1]).all()
    assert np.isfinite(result.g2[:, [0, 2]]).all()


def test_a_far_jump_is_a_gap_not_a_loop():
    frames = np.random.default_rng(9).poisson(1, (12, *SHAPE)).astype(np.uint16)
    result = reduce(frames, np.r_[0:6, 2**40 : 2**40 + 6])
    assert result.pairs[:8].tolist() == [10, 8, 6, 4, 2, 0, 0, 0]
    assert np.isnan(result.g2[5:8]).all()
    assert len(result.delays) == len(multitau_delays(2**40 + 6))


def test_constant_frames():
    result = reduce(np.full((50, *SHAPE), 7, np.uint16))
    np.testing.assert_allclose(result.g2, 1, rtol=1e-12)
    np.testing.assert_allclose(result.g2_err, 0, atol=1e-12)


def test_period_two_blinking():
    frames = np.zeros((64, *SHAPE), np.uint16)
    frames[::2] = 5
    result = reduce(frames)
    by_delay = dict(zip(result.delays.tolist(), result.g2[:, 0].tolist(), strict=True))
    assert [by_delay[tau] for tau in (1, 3, 5, 7)] == [0, 0, 0, 0]
    assert by_delay[2] == by_delay[8] == pytest.approx(2, rel=1e-12)
    assert by_delay[10] == by_delay[48] == pytest.approx(1, rel=1e-12)  # a level-1 frame holds both phases


def test_one_pixel_with_two_photons():
    frames = np.zeros((10, *SHAPE), np.uint16)
    y, x = np.argwhere(QMAP.static == 3)[0]
    frames[2, y, x] = frames[5, y, x] = 1
    result = reduce(frames)
    n = np.count_nonzero(QMAP.static == 3)
    assert result.g2[2, 1] == pytest.approx(7 * n / 2)  # M = 7: <G2> = 1 / 7n, <IP> = 2 / 7n, <IF> = 1 / 7n
    assert result.g2[1, 1] == 0
    assert np.isnan(result.g2[6:8, 1]).all()  # no photon among the first or the last frames
    assert np.isnan(result.g2_err).all()  # one lit pixel has no scatter


def test_static_speckle():
    """g2 of a pattern that does not move is <I^2> / <I>^2 over a static bin, at every delay."""
    qmap = QMap.rings((60, 60), (30, 30), dynamic_bins=2, static_per_dynamic=2)
    pattern = np.random.default_rng(10).exponential(20, (60, 60)).astype(np.uint16)
    result = reduce(np.broadcast_to(pattern, (40, 60, 60)), qmap=qmap)
    for i in (0, 1):
        bins = [pattern[qmap.static == s].astype(float) for s in (2 * i + 1, 2 * i + 2)]
        expected = np.mean([np.mean(values**2) / values.mean() ** 2 for values in bins])
        np.testing.assert_allclose(result.g2[:, i], expected, rtol=1e-12)


def test_real_frames_equal_the_reference():
    frames = real_frames()
    qmap = QMap.rings(frames.shape[1:], (143, 132))
    assert_equals_reference(reduce(frames, qmap=qmap), frames, np.arange(100), qmap)


@pytest.mark.parametrize("number", [0, 1])
def test_without_a_pair_the_result_is_empty(number):
    result = reduce(np.ones((number, *SHAPE), np.uint16))
    assert result.frames == number
    assert result.delays.shape == result.levels.shape == result.pairs.shape == (0,)
    assert result.g2.shape == result.g2_err.shape == (0, 3)
    assert result.jackknife.shape == (64, 0, 3)
    np.testing.assert_array_equal(result.q, QMAP.q)


def test_one_late_frame_has_delays_but_no_pairs():
    result = reduce(np.ones((1, *SHAPE), np.uint16), [9])
    np.testing.assert_array_equal(result.delays, multitau_delays(10))
    assert (result.pairs == 0).all()
    assert np.isnan(result.g2).all()


def test_memory_does_not_grow_with_the_number_of_frames():
    reduction, frames = MultiTau(QMAP), np.ones((2**15, *SHAPE), np.uint8)
    sizes = []
    for start in range(0, 2**18, 2**15):
        reduction.push(batch(frames, start=start))
        sizes.append(sum(array.nbytes for array in reduction._levels.dense.state))
    assert len(reduction._levels.dense.clocks) == 19
    assert sizes[-1] < 2 * sizes[0]


# --- what is refused, and that it changes nothing ---


def spoiled(**changes):
    good = {"frames": np.ones((3, *SHAPE), np.uint16), "indices": np.array([10, 11, 12])}
    return batch(**(good | changes))


BAD = {
    "shape": (spoiled(frames=np.ones((3, 15, 12), np.uint16)), "use one of this detector"),
    "one frame without its axis": (spoiled(frames=np.ones(SHAPE, np.uint16)), "shape"),
    "float": (spoiled(frames=np.full((3, *SHAPE), np.nan)), "float64"),
    "bool": (spoiled(frames=np.ones((3, *SHAPE), bool)), "bool"),
    "complex": (spoiled(frames=np.ones((3, *SHAPE), complex)), "complex"),
    "negative": (spoiled(frames=np.full((3, *SHAPE), -1, np.int16)), "mask it"),
    "repeated index": (spoiled(indices=[10, 10, 11]), "increase"),
    "decreasing index": (spoiled(indices=[12, 11, 10]), "increase"),
    "index already seen": (spoiled(indices=[9, 10, 11]), "came after 9"),
    "too few indices": (spoiled(indices=[10, 11]), "3 frames with indices"),
    "total": (spoiled(frames=np.full((3, *SHAPE), 2**31, np.uint32)), "4294967295 counts"),
    "beyond 32 bits": (spoiled(frames=np.full((3, *SHAPE), 2**63, np.uint64)), "4294967295 counts"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_leaves_everything_as_it_was(name):
    wrong, message = BAD[name]
    frames = np.random.default_rng(11).poisson(1, (20, *SHAPE)).astype(np.uint16)
    reduction = MultiTau(QMAP)
    reduction.push(batch(frames[:10]))
    with pytest.raises(ReductionError, match=message):
        reduction.push(wrong)
    reduction.push(batch(frames[10:], start=10))
    assert same_bits(reduction.result(), reduce(frames))


def test_negative_first_index_is_refused():
    with pytest.raises(ReductionError, match="increase"):
        MultiTau(QMAP).push(batch(np.ones((1, *SHAPE), np.uint16), [-1]))


def test_the_largest_total_is_exact_and_one_more_is_refused():
    """2^32 - 1 counts in a pixel: its products reach 2^64 and stay exact."""
    frames = np.zeros((4, *SHAPE), np.uint32)
    frames[:] = [[[2**30]]]
    frames[3] -= 1
    assert_equals_reference(reduce(frames), frames, np.arange(4), QMAP)
    reduction = MultiTau(QMAP)
    reduction.push(batch(frames))
    one = np.zeros((1, *SHAPE), np.uint8)
    one[0, 5, 6] = 1
    with pytest.raises(ReductionError, match="x=6, y=5"):
        reduction.push(batch(one, start=4))


def test_an_empty_batch_is_no_op():
    reduction = MultiTau(QMAP)
    reduction.push(batch(np.ones((0, 3, 3))))
    assert reduction.result().frames == 0


def test_counts_outside_the_bins_do_not_matter():
    frames = np.random.default_rng(12).poisson(1, (20, *SHAPE)).astype(np.int32)
    spoilt = frames.copy()
    spoilt[:, QMAP.dynamic == 0] = -1
    assert same_bits(reduce(spoilt), reduce(frames))


@pytest.mark.parametrize("options", [{"groups": 1}, {"delays_per_level": 0}])
def test_impossible_options(options):
    with pytest.raises(ReductionError, match="at least"):
        MultiTau(QMAP, **options)


# --- jackknife ---


def test_jackknife_leaves_out_whole_blocks():
    """Each leave-one-out g2 is the g2 of the q-map without that block; the blocks cover the bin."""
    qmap = QMap.rings((64, 64), (31.5, 31.5), dynamic_bins=2, static_per_dynamic=2, r_min=8)
    frames = np.random.default_rng(13).poisson(0.5, (30, 64, 64)).astype(np.uint16)
    result = reduce(frames, qmap=qmap, groups=8)
    y, x = np.nonzero(qmap.dynamic == 2)
    order = np.argsort(np.arctan2(y - 31.5, x - 31.5), kind="stable")
    for j, block in enumerate(np.split(order, [-(-k * len(order) // 8) for k in range(1, 8)])):
        bad = np.zeros(qmap.shape, bool)
        bad[y[block], x[block]] = True
        expected = reduce(frames, qmap=qmap.without(bad)).g2[:, 1]
        np.testing.assert_allclose(result.jackknife[j, :, 1], expected, rtol=1e-12)


def test_small_bins_have_fewer_groups():
    dynamic = np.zeros((20, 20), np.int32)
    dynamic[:5], dynamic[5:7], dynamic[8, :10] = 1, 2, 3
    qmap = QMap(
        dynamic=dynamic, static=dynamic, mask=np.ones((20, 20), bool), q=[1, 2, 3],
        static_q=[1, 2, 3], unit="px", center=(10.0, -30.0),
    )  # fmt: skip
    result = reduce(np.random.default_rng(14).poisson(2, (9, 20, 20)).astype(np.uint8), qmap=qmap)
    assert np.isfinite(result.jackknife).all(axis=1).sum(axis=0).tolist() == [6, 2, 0]
