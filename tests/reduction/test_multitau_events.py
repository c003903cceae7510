"""Multi-tau of events: whatever way a block goes, every bit is that of dense frames."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import MultiTau, QMap, _multitau_levels, pack_events
from apsdm_bluesky.streaming import Threads

from .reference import batch
from .test_multitau import SHAPE, assert_equals_reference, same_bits

QMAP = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=9)
RATES = {"few": 0.01, "some": 0.04, "many": 0.3}


@pytest.fixture
def small_blocks(monkeypatch):
    """Every push of 100 frames is a block of its own."""
    monkeypatch.setattr(_multitau_levels, "BLOCK", 100)
    monkeypatch.setattr(_multitau_levels, "LONG_RUN", 50)


def scene(rng, blocks):
    """Frames and their indices, in blocks of (length, rate, gap before)."""
    frames = np.concatenate([rng.poisson(RATES[rate], (n, *SHAPE)) for n, rate, _ in blocks])
    steps = np.ones(len(frames), np.int64)
    begins = np.cumsum([0, *(n for n, _, _ in blocks[:-1])])
    steps[begins] += [gap for _, _, gap in blocks]
    return frames.astype(np.uint16), np.cumsum(steps) - 1


def dense_only(frames, indices, **options):
    """All pixels of every frame through all levels."""
    reduction = MultiTau(QMAP, **options)
    reduction._levels._may_be_sparse = lambda slots: False
    reduction.push(batch(frames, indices))
    assert not reduction._levels._sparse
    return reduction


def pushed(reduction, frames, indices, cuts, kinds):
    """Push the parts between the cuts as dense frames or as events."""
    edges = [0, *sorted(cuts), len(frames)]
    for i, (start, stop) in enumerate(pairwise(edges)):
        part = batch(frames[start:stop], indices[start:stop])
        reduction.push(pack_events(part) if kinds[i % len(kinds)] == "events" else part)
        yield reduction


BLOCKS = st.lists(
    st.tuples(st.integers(1, 400), st.sampled_from(list(RATES)), st.sampled_from([0, 0, 0, 0, 1, 3, 200])),
    min_size=1,
    max_size=5,
)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_events_and_frames_in_any_mixture_equal_dense_frames(data):
    frames, indices = scene(np.random.default_rng(data.draw(st.integers(0, 99))), data.draw(BLOCKS))
    cuts = data.draw(st.lists(st.integers(0, len(frames)), max_size=5))
    kinds = data.draw(st.lists(st.sampled_from(["events", "frames"]), min_size=1, max_size=4))
    options = data.draw(
        st.sampled_from([{}, {"definition": "scikit-beam"}, {"delays_per_level": 8}, {"segment_frames": 100}])
    )
    reading, block = data.draw(st.booleans()), data.draw(st.sampled_from([37, 300, 7680]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_multitau_levels, "BLOCK", block)
        patch.setattr(_multitau_levels, "LONG_RUN", min(block, 100))
        for reduction in pushed(MultiTau(QMAP, **options), frames, indices, cuts, kinds):
            if reading:
                reduction.result()
    expected = dense_only(frames, indices, **options)
    assert same_bits(reduction.result(), expected.result())
    for name in ("G2", "IP", "IF"):
        np.testing.assert_array_equal(
            getattr(reduction.pixel_sums(), name), getattr(expected.pixel_sums(), name)
        )


def test_few_events_go_as_events_many_as_frames_and_back(small_blocks):
    rng = np.random.default_rng(1)
    frames, indices = scene(rng, [(600, "few", 0), (300, "many", 0), (600, "few", 0)])
    reduction, ways = MultiTau(QMAP), []
    for _ in pushed(reduction, frames, indices, range(100, 1500, 100), ["events"]):
        ways.append(reduction._levels._sparse)
    assert ways == [True] * 6 + [False] * 4 + [True] * 5
    assert_equals_reference(reduction.result(), frames, indices, QMAP)


@pytest.mark.parametrize("frames_before", [1, 2, 31, 90, 127, 128, 129, 143])
def test_a_read_out_and_frames_may_come_after_any_number_of_first_events(frames_before):
    """The first frames lack an earlier partner, in some levels and lags."""
    frames, indices = scene(np.random.default_rng(8), [(400, "few", 0)])
    reduction = MultiTau(QMAP)
    for _ in pushed(reduction, frames, indices, [frames_before, 160, 260], ["events", "events", "frames"]):
        until = reduction.result().frames
        expected = dense_only(frames[:until], indices[:until]).result()
        assert same_bits(reduction.result(), expected)


def test_frames_with_few_lit_pixels_go_as_events():
    rng, frames = np.random.default_rng(2), np.zeros((1200, *SHAPE), np.int32)
    frames[np.arange(1200), rng.integers(0, 4, 1200), rng.integers(0, 4, 1200)] = 2
    reduction = MultiTau(QMAP)
    for start in range(0, 1200, 50):
        reduction.push(batch(frames[start : start + 50], start=start))
    assert_equals_reference(reduction.result(), frames, np.arange(1200), QMAP)
    assert reduction._levels._sparse


def test_a_gap_ends_the_events_way_for_a_while(small_blocks):
    frames, indices = scene(np.random.default_rng(3), [(500, "few", 0), (500, "few", 1)])
    reduction, ways = MultiTau(QMAP), []
    for _ in pushed(reduction, frames, indices, range(100, 1000, 100), ["events"]):
        ways.append(reduction._levels._sparse)
    assert ways == [True] * 5 + [False] + [True] * 4
    assert_equals_reference(reduction.result(), frames, indices, QMAP)


def test_bright_events_are_exact():
    """Counts near the word's 4,095 in few pixels: sums beyond 16 bits on the events' way."""
    rng = np.random.default_rng(4)
    frames = (rng.random((500, *SHAPE)) < 0.01) * rng.integers(3_900, 4_096, (500, *SHAPE))
    frames[:, 5, 6] = 4_095
    reduction = MultiTau(QMAP)
    for _ in pushed(reduction, frames.astype(np.uint16), np.arange(500), [250], ["events"]):
        pass
    assert_equals_reference(reduction.result(), frames, np.arange(500), QMAP)
    assert reduction._levels._sparse


def test_a_lost_frame_takes_no_more_than_its_neighbours_off_the_events_way(monkeypatch):
    """Long runs are blocks of their own; short ones between gaps go together, with all pixels."""
    monkeypatch.setattr(_multitau_levels, "LONG_RUN", 200)
    frames, indices = scene(
        np.random.default_rng(6), [(300, "few", 0), (20, "few", 1), (30, "few", 2), (400, "few", 1)]
    )
    blocks, reduction = [], MultiTau(QMAP)
    push = reduction._levels._push_block
    reduction._levels._push_block = lambda slots, *events: (blocks.append(len(slots)), push(slots, *events))
    reduction.push(pack_events(batch(frames, indices)))
    assert_equals_reference(reduction.result(), frames, indices, QMAP)
    assert blocks == [300, 50, 400]
    assert reduction._levels._sparse


def test_threads_do_not_show():
    frames, indices = scene(np.random.default_rng(5), [(500, "few", 0), (100, "many", 0), (300, "few", 2)])
    with Threads(3) as threads:
        results = [
            [
                reduction.result()
                for reduction in pushed(MultiTau(QMAP, **options), frames, indices, [300, 550], [kind])
            ][-1]
            for options in ({}, {"workers": threads})
            for kind in ("events", "frames")
        ]
    assert all(same_bits(result, results[0]) for result in results[1:])


@pytest.mark.parametrize("first", [0, 5])
def test_a_stream_of_empty_frames_has_no_g2(first):
    empty = EventBatch(
        words=np.zeros(0, np.uint64),
        offsets=np.zeros(401, np.int64),
        indices=np.arange(first, first + 400),
        shape=SHAPE,
    )
    reduction = MultiTau(QMAP)
    reduction.push(empty)
    assert reduction.result().pairs[0] == 399
    assert np.isnan(reduction.result().g2).all()
