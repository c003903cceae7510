"""Real frames through the whole chain, against an independent float64 calculation."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from .conftest import apsdm

REAL = Path(__file__).parents[2].parent / "shared/data/xpcs-speckle-100x256x256-uint16.npy.zip"

pytestmark = pytest.mark.skipif(not REAL.exists(), reason="the real frames are not on this machine")


@pytest.fixture(scope="module")
def replay(beamline):
    done = apsdm("replay", REAL, "--rings", 8, "--center", "143,132", "--json", home=beamline.home)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def frames():
    with zipfile.ZipFile(REAL) as archive:
        return np.load(io.BytesIO(archive.read(archive.namelist()[0])))


def multitau_delays(count, per_level=4):
    """(delay, level): 1..8, then 5..8 times 2^level, as long as they fit."""
    delays, level = [(tau, 0) for tau in range(1, 2 * per_level + 1) if tau < count], 1
    while count >> level > per_level + 1:
        length = count >> level
        delays += [(k << level, level) for k in range(per_level + 1, 2 * per_level + 1) if k < length]
        level += 1
    return delays


def float64_g2(frames, static_map, dynamic_map):
    """g2 (delays, dynamic bins), straight from the definition."""
    levels = [frames.reshape(len(frames), -1).astype(np.float64)]
    while len(levels[-1]) > 1:
        pairs = len(levels[-1]) // 2
        levels.append((levels[-1][0 : 2 * pairs : 2] + levels[-1][1 : 2 * pairs : 2]) / 2)
    static, dynamic = static_map.ravel(), dynamic_map.ravel()
    rows = []
    for delay, level in multitau_delays(len(frames)):
        x, k = levels[level], delay >> level
        product, past, future = (x[:-k] * x[k:]).mean(0), x[:-k].mean(0), x[k:].mean(0)
        row = []
        for number in range(1, dynamic.max() + 1):
            bins = np.unique(static[dynamic == number])
            ratios = [
                product[static == s].mean() / (past[static == s].mean() * future[static == s].mean())
                for s in bins
            ]
            row.append(np.mean(ratios))
        rows.append(row)
    return np.array(rows)


def test_all_real_frames_arrive(replay):
    frames = replay["frames"]
    assert frames["expected"] == frames["received"] == frames["reduced"] == frames["stored"] == 100
    assert frames["dropped"] == frames["missing"] == 0
    assert replay["archive"]["state"] == "VERIFIED"


def test_g2_equals_an_independent_calculation(replay, frames, beamline):
    qmap = beamline.client["processed"][replay["processed_uid"]]["qmap"]
    static_map, dynamic_map = qmap["static_map"].read()[0], qmap["dynamic_map"].read()[0]
    assert np.all(static_map[qmap["hot_pixels"].read()[0] > 0] == 0)
    expected = float64_g2(frames, static_map, dynamic_map)
    assert replay["g2"]["delays"] == [delay for delay, _ in multitau_delays(100)]
    np.testing.assert_allclose(np.array(replay["g2"]["values"]).T, expected, rtol=1e-6)


def test_the_rings_are_about_the_given_centre(replay, beamline):
    qmap = beamline.client["processed"][replay["processed_uid"]]["qmap"]
    dynamic_map = qmap["dynamic_map"].read()[0]
    y, x = np.nonzero(dynamic_map == 8)
    radius = np.hypot(x - 143, y - 132)
    assert radius.max() - radius.min() < 13
    assert len(replay["g2"]["q"]) == 8


def test_the_bad_column_is_masked_and_told(replay, frames):
    assert replay["mask"]["bad_columns"] == [143]
    assert replay["mask"]["pixels_masked"] >= 100
    masked = {tuple(pixel) for pixel in replay["mask"]["pixels"]}
    assert all((143, y) in masked for y in range(20, 60))
    assert all(frames[:, y, x].sum() > 100 for x, y in masked if x != 143)  # no good pixel is lost


def test_the_real_frames_are_stored_equal_to_the_bit(replay, frames, beamline):
    image = beamline.client["raw"][replay["raw_uid"]]["primary"]["sim_det_image"]
    np.testing.assert_array_equal(image[:], frames)


def test_the_file_reduced_offline_gives_the_same_hash(replay, beamline):
    done = apsdm("reduce", REAL, "--rings", 8, "--center", "143,132", "--json", home=beamline.home)
    result = beamline.client["processed"][replay["processed_uid"]]["primary"]
    assert json.loads(done.stdout)["result_sha256"] == result["result_sha256"].read()[0]
