"""TwoTime against the definition in float64, written plainly."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import (
    MultiTau,
    OneThread,
    QMap,
    TwoTime,
    age_profiles,
    find_hot_pixels,
    pack_events,
)
from apsdm_bluesky.reduction._twotime_blocks import Packed, Survey
from apsdm_bluesky.reduction._twotime_layout import Layout
from apsdm_bluesky.reduction._twotime_products import by_matrices
from apsdm_bluesky.streaming import Threads

from .reference import batch, push_split, real_frames

SHAPE = (12, 15)
MASK = np.ones(SHAPE, bool)
MASK[3, 4] = MASK[8, 8] = MASK[0, 0] = False
QMAP = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=7, mask=MASK)


def reference_c2(frames, indices, qmap, width=1):
    """C2 of every dynamic bin, shape (nq, n, n)."""
    n = int(indices[-1]) // width + 1
    rows = np.zeros((n, *qmap.shape))
    np.add.at(rows, np.asarray(indices) // width, frames.astype(np.float64))
    c2 = np.full((len(qmap.q), n, n), np.nan)
    for b in range(len(qmap.q)):
        X = []
        for s in np.unique(qmap.static[qmap.dynamic == b + 1]):
            x = rows[:, qmap.static == s]
            mean = x.mean(axis=1, keepdims=True)
            X.append(np.divide(x, mean, out=np.zeros_like(x), where=mean > 0))
        if X:
            X = np.concatenate(X, axis=1)
            total = X.sum(axis=1)
            with np.errstate(invalid="ignore"):
                c2[b] = X @ X.T * X.shape[1] / np.outer(total, total)
    return c2


def same(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in dataclasses.fields(a)
    )


def reduced(frames, indices=None, qmap=QMAP, **options):
    reduction = TwoTime(qmap, **options)
    reduction.push(batch(frames, indices))
    return reduction.result()


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_the_definition_in_any_split_dense_or_sparse(data):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, 50), min_size=1, max_size=40))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mean = data.draw(st.sampled_from([0.02, 0.5, 20]))
    frames = rng.poisson(mean, (len(indices), *SHAPE)).astype(np.uint16)
    whole = reduced(frames, indices)
    np.testing.assert_allclose(whole.c2, reference_c2(frames, indices, QMAP), rtol=1e-12)

    parts = TwoTime(QMAP)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(indices)), max_size=5)))
    for part in np.split(np.arange(len(indices)), cuts):
        piece = batch(frames[part], indices[part])
        parts.push(piece if data.draw(st.booleans()) else pack_events(piece))
    assert same(parts.result(), whole)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_rows_widen_to_fit_the_budget_the_same_in_any_split(data):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, 400), min_size=1, max_size=300))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(data.draw(st.sampled_from([0.5, 20])), (len(indices), *SHAPE)).astype(np.uint16)
    budget = 80_000
    whole = reduced(frames, indices, budget=budget)
    np.testing.assert_allclose(
        whole.c2, reference_c2(frames, indices, QMAP, whole.width), rtol=1e-12, equal_nan=True
    )
    assert whole.first.tolist() == list(range(0, int(indices[-1]) + 1, whole.width))
    assert whole.frames.tolist() == np.bincount(indices // whole.width).tolist()
    n, nb = len(whole.first), 3
    assert 8 * n * n * (nb + 1) <= budget

    cuts = data.draw(st.lists(st.integers(0, len(indices)), max_size=5))
    assert same(push_split(TwoTime(QMAP, budget=budget), frames, indices, cuts).result(), whole)


def test_the_rows_stay_within_their_bytes():
    """100,000 frames of 200 pixels and then a far jump: the counts outgrow 8 and 16 bits on the way."""
    reduction = TwoTime(QMAP, budget=80_000)
    frames = np.random.default_rng(0).poisson(2, (500, *SHAPE)).astype(np.uint8)
    widths = []
    for k in range(200):
        reduction.push(batch(frames, start=500 * k))
        rows = reduction._rows
        held = sum(row.nbytes for row in rows._closed if row is not None)
        assert held + 32 * (len(rows._closed) + 1) ** 2 <= 80_000
        widths.append(rows.width)
    assert widths == sorted(widths)
    assert {row.dtype for row in rows._closed} == {np.dtype(np.uint16)}
    result = reduction.result()
    assert result.frames.sum() == 100_000
    reduction.push(batch(frames[:1], [2**40]))
    last = reduction.result()
    assert (last.frames.sum(), last.frames[-1]) == (100_001, 1)
    assert np.isnan(last.c2[:, 1]).all()


def test_diagonals_are_g2_at_linear_lags():
    """Multi-tau's too where all frames have the same counts in each static bin, of equal sizes."""
    rng = np.random.default_rng(4)
    static = np.repeat([1, 2, 3, 4], 45).reshape(SHAPE).astype(np.int32)
    qmap = QMap(
        dynamic=(static + 1) // 2,
        static=static,
        mask=np.ones(SHAPE, bool),
        q=[1, 2],
        static_q=[1, 2, 3, 4],
        unit="px",
        center=(0, 0),
    )
    frames = np.stack([np.concatenate([rng.permutation(45) for _ in range(4)]) for _ in range(30)])
    frames = frames.reshape(30, *SHAPE).astype(np.uint8)
    two, one = reduced(frames, qmap=qmap), MultiTau(qmap)
    one.push(batch(frames))
    np.testing.assert_allclose(two.g2[:8], one.result().g2[:8], rtol=1e-12)
    assert two.delays.tolist() == list(range(1, 30))
    c2 = reference_c2(frames, np.arange(30), qmap)
    for lag in range(1, 30):
        values = np.diagonal(c2, lag, 1, 2)
        np.testing.assert_allclose(two.g2[lag - 1], values.mean(axis=1), rtol=1e-12)
        if 1 < values.shape[1] < 16:
            plain = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
            np.testing.assert_allclose(two.g2_err[lag - 1], plain, rtol=1e-9)


def test_constant_frames_have_no_contrast():
    result = reduced(np.full((20, *SHAPE), 3, np.uint8))
    assert (result.c2 == 1).all()
    assert (result.g2 == 1).all()
    assert (result.g2_err[:-1] == 0).all()


def test_a_static_pattern_has_its_contrast_at_every_delay():
    pattern = np.random.default_rng(2).integers(1, 60, SHAPE).astype(np.uint8)
    result = reduced(np.stack([pattern] * 9))
    for b in range(3):
        parts = [pattern[QMAP.static == s].astype(float) for s in (2 * b + 1, 2 * b + 2)]
        squares = np.concatenate([part / part.mean() for part in parts]) ** 2
        np.testing.assert_allclose(result.c2[b], squares.mean(), rtol=1e-12)


@pytest.mark.parametrize("highest", [1, 3, 7, 63, 255, 300, 65_535, 70_000, 2**26])
def test_counts_of_any_size(highest):
    rng = np.random.default_rng(highest)
    frames = rng.integers(0, highest, (30, *SHAPE), endpoint=True).astype(np.uint32)
    result = reduced(frames)
    np.testing.assert_allclose(result.c2, reference_c2(frames, np.arange(30), QMAP), rtol=1e-12)


def test_bright_frames_among_dim_ones():
    """Rows of one and of two bytes, while each frame is a row and when rows widen."""
    rng = np.random.default_rng(2)
    frames = rng.poisson(0.3, (90, *SHAPE)).astype(np.uint16)
    frames[::7, 5, 6] = 300
    frames[80, 5, 6] = 256
    for options in ({}, {"budget": 80_000}):
        result = reduced(frames, **options)
        expected = reference_c2(frames, np.arange(90), QMAP, result.width)
        np.testing.assert_allclose(result.c2, expected, rtol=1e-12)
        assert same(reduced(frames.astype(">u2"), **options), result)
        events = TwoTime(QMAP, **options)
        events.push(pack_events(batch(frames)))
        assert same(events.result(), result)
    assert result.width > 1


@pytest.mark.parametrize("mean", [0.01, 0.4, 2])
def test_planes_events_and_matrices_give_the_same_bits(mean):
    """600 rows, one with a bright pixel: several blocks, of unlike sizes."""
    rows = np.random.default_rng(1).poisson(mean, (601, 640)).astype(np.uint16)
    rows[300, 70] = 40_000
    columns = np.array([0, 64, 640])
    survey = Survey.of(list(rows), columns, OneThread())
    with Threads(2) as threads:
        ways = [Packed(list(rows), survey, planes, threads).multiply for planes in range(4)]
    for first, second in ((0, 0), (0, 2), (1, 2)):
        i, j = (slice(*survey.blocks[k]) for k in (first, second))
        expected = rows[i, 64:].astype(np.int64) @ rows[j, 64:].astype(np.int64).T
        for multiply in (*ways, by_matrices(list(rows), survey)):
            products = multiply(first, second, (64, 640))[: i.stop - i.start, : j.stop - j.start]
            np.testing.assert_array_equal(products, expected)


@pytest.mark.parametrize(("mean", "planes"), [(0.005, 0), (0.1, 1), (30, None)])
def test_the_way_is_chosen_by_the_counts(mean, planes):
    rows = list(np.random.default_rng(1).poisson(mean, (500, 6400)).astype(np.uint8))
    assert Survey.of(rows, np.array([0, 6400]), OneThread()).best_planes() == planes


def test_threads_change_nothing():
    frames = np.random.default_rng(3).poisson(0.4, (600, *SHAPE)).astype(np.uint16)
    with Threads(3) as threads:
        assert same(reduced(frames, workers=threads), reduced(frames))


def test_chosen_bins_in_their_order():
    frames = np.random.default_rng(5).poisson(0.4, (40, *SHAPE)).astype(np.uint16)
    whole, chosen = reduced(frames), reduced(frames, bins=[3, 1])
    assert chosen.bins.tolist() == [3, 1]
    assert chosen.q.tolist() == QMAP.q[[2, 0]].tolist()
    np.testing.assert_array_equal(chosen.c2, whole.c2[[2, 0]])
    np.testing.assert_array_equal(chosen.g2_err, whole.g2_err[:, [2, 0]])


@pytest.mark.parametrize("bins", [[], [0], [4], [1, 1], [1.5], [[1]]])
def test_bins_that_cannot_be(bins):
    with pytest.raises(ReductionError, match="two-time bins"):
        TwoTime(QMAP, bins=bins)


def test_a_budget_that_holds_nothing():
    with pytest.raises(ReductionError, match="fewer bins"):
        TwoTime(QMAP, budget=1000)


def test_a_bin_without_pixels_is_nan():
    result = reduced(np.ones((5, *SHAPE), np.uint8), qmap=QMAP.without(QMAP.dynamic == 2))
    assert np.isnan(result.c2[1]).all()
    assert np.isnan(result.g2[:, 1]).all()
    assert (result.c2[[0, 2]] == 1).all()


def test_only_bins_without_pixels():
    result = reduced(np.ones((5, *SHAPE), np.uint8), qmap=QMAP.without(QMAP.dynamic == 2), bins=[2])
    assert result.c2.shape == (1, 5, 5)
    assert np.isnan(result.c2).all()


def test_an_empty_stream_and_one_frame():
    reduction = TwoTime(QMAP)
    reduction.push(batch(np.zeros((0, *SHAPE), np.uint8)))
    empty = reduction.result()
    assert empty.c2.shape == (3, 0, 0)
    assert empty.g2.shape == (0, 3)
    assert len(empty.first) == len(empty.delays) == 0
    one = reduced(np.ones((1, *SHAPE), np.uint8))
    assert (one.c2 == 1).all()
    assert one.g2.shape == (0, 3)


def test_frames_without_counts_are_nan():
    frames = np.ones((5, *SHAPE), np.uint8)
    frames[2] = 0
    c2 = reduced(frames).c2
    assert np.isnan(c2[:, 2]).all()
    assert (np.delete(np.delete(c2, 2, 1), 2, 2) == 1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        batch(np.ones((2, 3, 3), np.uint8), start=5),
        batch(np.ones((2, *SHAPE)), start=5),
        batch(-np.ones((2, *SHAPE), np.int8), start=5),
        batch(np.ones((2, *SHAPE), np.uint8), start=1),
        batch(np.full((2, *SHAPE), 2**31, np.uint32), start=5),
        batch(np.full((2, *SHAPE), 2**63, np.uint64), start=5),
        EventBatch(
            words=np.full(4, 180 << 16, np.uint64),
            offsets=np.array([0, 4]),
            indices=np.array([9]),
            shape=SHAPE,
        ),
    ],
    ids=["shape", "float", "negative", "order", "32 bits", "64 bits", "pixel"],
)
def test_what_is_refused_changes_nothing(wrong):
    reduction = TwoTime(QMAP)
    reduction.push(batch(np.ones((2, *SHAPE), np.uint8)))
    before = reduction.result()
    with pytest.raises(ReductionError):
        reduction.push(wrong)
    assert same(reduction.result(), before)


def test_totals_are_looked_at_when_the_bound_is_reached():
    """70,000 frames of uint16 could pass 32 bits by their dtype, not by their counts."""
    reduction = TwoTime(QMAP, budget=80_000)
    frames = np.ones((1000, *SHAPE), np.uint16)
    for k in range(70):
        reduction.push(batch(frames, start=1000 * k))
    assert reduction.result().frames.sum() == 70_000


def test_signed_frames_and_a_change_of_dtype():
    frames = np.random.default_rng(6).poisson(0.4, (20, *SHAPE))
    gaps = frames.astype(np.int32)
    gaps[:, QMAP.dynamic == 0] = -1
    reduction = TwoTime(QMAP)
    reduction.push(batch(gaps[:9]))
    reduction.push(batch(frames[9:].astype(np.uint8), start=9))
    assert same(reduction.result(), reduced(frames.astype(np.uint16)))


def test_the_layout_pads_static_bins_to_words():
    layout = Layout.of(QMAP, [2])
    assert (layout.columns % 64 == 0).all()
    assert np.sort(layout.pixels).tolist() == np.flatnonzero(QMAP.dynamic == 2).tolist()
    assert layout.sizes.tolist() == [np.count_nonzero(QMAP.static == s) for s in (3, 4)]
    for k in range(2):
        places = layout.places[layout.starts[k] : layout.starts[k + 1]]
        assert places.tolist() == list(range(layout.columns[k], layout.columns[k] + layout.sizes[k]))


def speckle(rates, pixels, seed, mean=2.0):
    """Counts of a complex AR(1) field whose decay rate may change: |g1|^2 falls by exp(-2 rate) a frame."""
    rng = np.random.default_rng(seed)
    field = rng.standard_normal((2, pixels))
    frames = []
    for rate in rates:
        keep = np.exp(-rate)
        field = keep * field + np.sqrt(1 - keep**2) * rng.standard_normal((2, pixels))
        frames.append(rng.poisson(mean * (field**2).sum(axis=0) / 2))
    return np.array(frames, np.uint16)


def test_speckle_has_the_decay_that_it_was_made_with():
    qmap = QMap.rings((64, 64), (31.5, 31.5), dynamic_bins=1, static_per_dynamic=2, r_min=0, r_max=50)
    frames = speckle([0.03] * 200, 64 * 64, 7).reshape(-1, 64, 64)
    result = reduced(frames, qmap=qmap)
    lags = np.arange(1, 20)
    pulls = (result.g2[:19, 0] - 1 - np.exp(-0.06 * lags)) / result.g2_err[:19, 0]
    assert abs(pulls).max() < 4


def test_age_profiles_see_the_sample_slow_down():
    qmap = QMap.rings((64, 64), (31.5, 31.5), dynamic_bins=1, static_per_dynamic=2, r_min=0, r_max=50)
    frames = speckle([0.1] * 150 + [0.03] * 150, 64 * 64, 8).reshape(-1, 64, 64)
    profiles = age_profiles(reduced(frames, qmap=qmap), windows=6)
    assert profiles.age.tolist() == [25, 75, 125, 175, 225, 275]
    expected = np.log(2) / (2 * np.array([0.1] * 3 + [0.03] * 3))
    settled = [0, 1, 4, 5]
    np.testing.assert_allclose(profiles.half_time[settled, 0], expected[settled], rtol=0.2)
    for window, lag in ((1, 3), (4, 5)):
        i = [k for k in range(300 - lag) if 100 * window <= 2 * k + lag + 1 < 100 * (window + 1)]
        c2 = reduced(frames, qmap=qmap).c2[0]
        np.testing.assert_allclose(
            profiles.c2[window, lag - 1, 0], np.mean([c2[k, k + lag] for k in i]), rtol=1e-12
        )


@pytest.mark.parametrize("windows", [0, 6])
def test_age_windows_that_cannot_be(windows):
    with pytest.raises(ReductionError, match="age windows"):
        age_profiles(reduced(np.ones((5, *SHAPE), np.uint8)), windows=windows)


def test_the_real_frames():
    frames = real_frames()
    qmap = QMap.rings((256, 256), (143, 132), dynamic_bins=4, r_min=25, r_max=100)
    bad = find_hot_pixels(batch(frames), qmap)
    qmap = qmap.without(bad)
    result = reduced(frames, qmap=qmap)
    np.testing.assert_allclose(result.c2, reference_c2(frames, np.arange(100), qmap), rtol=1e-12)
    events = TwoTime(qmap)
    events.push(pack_events(batch(np.where(qmap.dynamic, frames, 0))))
    assert same(events.result(), result)
    assert (result.g2[0, :2] > result.g2[40, :2]).all()
