"""Records of a result and of an analysis run's documents: the same numbers; forged ones are refused."""

import math

import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import Provenance, RawRun, XpcsRecord, run_record, series_record, xpcs_bytes
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import SeriesReduction, SeriesSettings

from .xpcs_records import GEOMETRY, PLACED, QMAP, SHAPE, record, two_time

FRAMES = np.random.default_rng(5).poisson(0.5, (40, *SHAPE)).astype(np.uint16)
START = {
    "uid": "result-uid",
    "raw_uid": "raw-uid",
    "scan_id": 17,
    "sample": {"name": "silica", "diameter_nm": 100},
    "experiment": "e-7",
    "detector": "lambda",
    "frame_period_s": 0.002,
    "software": {"apsdm-bluesky": "0.1.0"},
    "configuration": {"qmap": {"center": [19.5, 14.25]}},
}
KEYS = ("delays", "levels", "pairs", "g2", "g2_err", "saxs", "sum_image", "frame_index", "total")


def bins(qmap):
    return {
        "mask": (qmap.dynamic > 0).astype(np.uint8),
        "dynamic_map": qmap.dynamic,
        "static_map": qmap.static,
        "q": qmap.q,
        "static_q": qmap.static_q,
        "q_unit": qmap.unit,
    }


def primary(of):
    return {
        **{key: getattr(of, key) for key in (*KEYS, "frames", "result_sha256")},
        "gamma": of.fit["gamma"],
        "iqt": np.ones((3, 2)),
    }


SOUND = {
    "primary": primary(record()),
    "qmap": bins(QMAP),
    "ledger": {"expected": np.int64(51), "reason": "slow"},
}


def test_a_reduction_s_result_is_a_record():
    series = SeriesReduction(QMAP, SeriesSettings(hot_pixel_frames=0))
    series.push(FrameBatch(frames=FRAMES, indices=np.arange(40)))
    result = series.result()
    made = series_record(result, Provenance(identifier="frames"))
    np.testing.assert_array_equal(made.g2, result.multitau.g2)
    np.testing.assert_array_equal(made.sum_image, FRAMES.sum(axis=0))
    np.testing.assert_array_equal(made.total, FRAMES.sum(axis=(1, 2)))
    np.testing.assert_array_equal(made.fit["gamma"], result.decays.gamma)
    np.testing.assert_allclose(np.nansum(made.saxs_segments, axis=0), made.saxs)
    assert (made.frames, made.result_sha256) == (40, result.sha256)
    assert xpcs_bytes(made)


def test_documents_give_the_record_they_were_made_of():
    made, meant = run_record(START, SOUND), record()
    for key in KEYS:
        np.testing.assert_array_equal(getattr(made, key), getattr(meant, key))
    np.testing.assert_array_equal(made.qmap.static, QMAP.static)
    assert made.qmap.center == (19.5, 14.25)
    assert made.center_known
    facts = made.provenance
    assert (facts.identifier, facts.scan_id, facts.raw_uid) == ("17", 17, "raw-uid")
    assert facts.sample == '{"diameter_nm": 100, "name": "silica"}'
    assert facts.metadata == {"experiment": "e-7"}
    assert facts.ledger == {"expected": 51, "reason": "slow"}
    assert (facts.start_time, facts.end_time) == ("", "")


def test_the_raw_run_tells_when_and_how_long():
    raw = RawRun(
        start={"time": 0.5, "energy_kev": 8},
        stop={"time": 60},
        configuration={"det_cam_acquire_time": 0.001, "det_cam_acquire_period": 0.002},
    )
    facts = run_record(START, SOUND, raw).provenance
    assert facts.start_time == "1970-01-01T00:00:00.500000+00:00"
    assert facts.end_time == "1970-01-01T00:01:00.000000+00:00"
    assert (facts.exposure_s, facts.energy_kev) == (0.001, 8.0)


def test_a_q_map_that_knows_its_place_keeps_it():
    lengths = {key: getattr(GEOMETRY, key) for key in ("distance_m", "energy_kev", "pixel_size_m")}
    place = {"center": np.array(GEOMETRY.center), "rotations": np.zeros(3), **lengths}
    angles = {"phi": PLACED.phi, "static_phi": PLACED.static_phi}
    streams = {"primary": primary(record(PLACED)), "qmap": {**bins(PLACED), **place, **angles}}
    made = run_record(START, streams)
    assert made.qmap.geometry == GEOMETRY
    np.testing.assert_array_equal(made.qmap.phi, PLACED.phi)


def test_two_time_maps_come_along():
    maps = two_time()
    made = run_record(START, {**SOUND, "two_time": {"bins": maps.bins, "c2": maps.c2, "width": 4}})
    np.testing.assert_array_equal(made.two_time.c2, maps.c2)
    assert made.two_time.width == 4


def test_time_segments_come_along_as_shares():
    means, frames = np.array([[1.0] * 6, [4.0] * 6]), np.array([30, 10])
    g2 = np.ones((2, 9, 2))
    told = {
        "saxs_segments": means,
        "saxs_segment_frames": frames,
        "g2_segments": g2,
        "g2_segment_first": [0, 32],
    }
    made = run_record(START, changed("primary", **told))
    np.testing.assert_array_equal(made.saxs_segments[:, 0], [0.75, 1.0])
    np.testing.assert_array_equal(made.g2_segment_first, [0, 32])
    assert made.g2_segments.shape == g2.shape


def test_a_run_that_tells_little_is_a_record_of_little():
    made = run_record({"frame_period_s": 0}, {key: SOUND[key] for key in ("primary", "qmap")})
    facts = made.provenance
    assert not made.center_known
    assert all(math.isnan(value) for value in (facts.frame_period_s, facts.exposure_s, facts.energy_kev))
    assert (facts.identifier, facts.scan_id, facts.detector, facts.ledger) == ("", None, "", {})


def changed(stream, **values):
    kept = {key: value for key, value in {**SOUND[stream], **values}.items() if value is not None}
    return {**SOUND, stream: kept}


@pytest.mark.parametrize(
    ("streams", "start", "told"),
    [
        ({"qmap": SOUND["qmap"]}, {}, "no stream 'primary'"),
        ({"primary": SOUND["primary"]}, {}, "no stream 'qmap'"),
        (changed("primary", g2=None), {}, "'primary' lacks 'g2'"),
        (changed("primary", result_sha256=None), {}, "lacks 'result_sha256'"),
        (changed("primary", frames="many"), {}, "frames is 'many': need a whole number"),
        (changed("primary", saxs=np.ones(4)), {}, "saxs has shape"),
        (changed("primary", g2=np.full((9, 2), "x")), {}, "g2 has shape"),
        (
            changed("primary", saxs_segments=np.ones((2, 6)), saxs_segment_frames=np.ones(3, int)),
            {},
            "need a number of frames each",
        ),
        (changed("qmap", q_unit=None), {}, "'qmap' lacks 'q_unit'"),
        (changed("qmap", dynamic_map=np.zeros((2, 2), int)), {}, "'qmap' cannot be used"),
        (
            changed("qmap", static_map=(QMAP.static > 0).astype(int)),
            {},
            "static bin 1 lies in dynamic bins 1, 2",
        ),
        (changed("qmap", mask="no mask"), {}, "'qmap' cannot be used"),
        (changed("qmap", q=["a", "b"]), {}, "'qmap' cannot be used"),
        (changed("qmap", center=np.ones(3)), {}, "need two numbers"),
        (changed("qmap", center=[np.nan, 1]), {}, "beam centre"),
        (
            changed("qmap", distance_m=-1.0, energy_kev=8.0, pixel_size_m=1e-4),
            {},
            "distance_m is -1",
        ),
        (SOUND, {"frame_period_s": "fast"}, "frame_period_s is 'fast'"),
        (SOUND, {"configuration": {"qmap": {"center": ["a", "b"]}}}, "center is 'a'"),
        (SOUND, {"scan_id": "first"}, "scan_id is 'first'"),
    ],
)
def test_forged_documents_are_refused(streams, start, told):
    with pytest.raises(FormatError, match=told):
        run_record({**START, **start}, streams)


@pytest.mark.parametrize("time", ["noon", math.nan, 1e30])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(FormatError, match="time is"):
        run_record(START, SOUND, RawRun(start={"time": time}))


def test_a_forged_start_document_harms_nothing():
    odd = {**START, "software": "new", "configuration": [1], "sample": 3, "detector": None, "raw_uid": 5}
    made = run_record(odd, SOUND)
    assert isinstance(made, XpcsRecord)
    assert xpcs_bytes(made)
