"""Live reduction of a real stream: what it publishes, and that it harms nobody."""

import threading

import numpy as np
import pytest
from bluesky import plan_stubs as bps
from bluesky import plans as bp

from apsdm_bluesky.callbacks import StreamReducer
from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.reduction import QMap, SeriesReduction, SeriesSettings, multitau_delays
from apsdm_bluesky.sim import DetectorProcess, Fault, SpeckleSample
from apsdm_bluesky.streaming import AcquisitionInfo, FrameAudit, FrameStream
from tests.beamline import SIMULATION, Documents, open_device

CONFIG = ReductionConfig(interval_s=0.05, hot_pixel_frames=10, on_overflow="block")
SAMPLE = SpeckleSample(SIMULATION)


def qmap_for(shape):
    return QMap.rings(shape, SAMPLE.center, dynamic_bins=3, r_min=13, r_max=23, mask=SAMPLE.mask)


class Analyses(Documents):
    def stream(self, name):
        uids = [doc["uid"] for doc in self.named("descriptor") if doc["name"] == name]
        return [doc["data"] for doc in self.named("event") if doc["descriptor"] in uids]


@pytest.fixture
def analyses():
    return Analyses()


@pytest.fixture
def subscribed(RE):
    """Attach reducers, and detach them after the test."""
    tokens = []

    def subscribe(reducer):
        tokens.append(RE.subscribe(reducer))
        return reducer

    yield subscribe
    for token in tokens:
        RE.unsubscribe(token)


def take(RE, det, frames, **md):
    RE(xpcs_series(det, frames, acquire_period=0.002, acquire_time=0.002, md=md))


def finished(reducer):
    assert reducer.last.ended.wait(60)
    return reducer.last


def test_a_run_gets_a_linked_analysis_run(RE, det, documents, analyses, subscribed):
    reducer = subscribed(StreamReducer("det", det.frames, emit=analyses, qmap_for=qmap_for, config=CONFIG))
    take(RE, det, 400, sample="silica")
    finished(reducer)
    (start,) = analyses.named("start")
    (raw,) = documents.named("start")
    assert start["raw_uid"] == raw["uid"]
    assert (start["sample"], start["scan_id"]) == ("silica", raw["scan_id"])
    assert start["configuration"] == CONFIG.model_dump(mode="json")
    assert len(start["configuration_sha256"]) == 64
    assert start["software"]["apsdm-bluesky"]
    assert analyses.stop["exit_status"] == "success"
    assert analyses.stop["reason"] == "400 of 400 frames reduced"
    (ledger,) = analyses.stream("ledger")
    assert (ledger["accepted"], ledger["done"], ledger["dropped"]) == (400, 400, 0)


def test_the_live_result_is_that_of_the_same_frames_offline(RE, det, documents, analyses, subscribed):
    reducer = subscribed(StreamReducer("det", det.frames, emit=analyses, qmap_for=qmap_for, config=CONFIG))
    take(RE, det, 300)
    finished(reducer)
    frames = np.empty((300, *SIMULATION.shape), np.uint16)
    SAMPLE.series(documents.ledger()["first_id"]).fill(frames)
    offline = SeriesReduction(qmap_for(SIMULATION.shape), SeriesSettings(hot_pixel_frames=10))
    offline.push(FrameBatch(frames=frames, indices=np.arange(300)))
    (result,) = analyses.stream("primary")
    assert result["result_sha256"] == offline.result().sha256
    np.testing.assert_array_equal(result["g2"], offline.result().multitau.g2)
    np.testing.assert_array_equal(result["sum_image"], frames.sum(axis=0))
    np.testing.assert_array_equal(result["delays"], multitau_delays(300))
    (masks,) = analyses.stream("qmap")
    np.testing.assert_array_equal(masks["static_map"], qmap_for(SIMULATION.shape).static)
    assert masks["hot_pixel_count"] == 0


def test_running_results_come_while_frames_come(RE, det, analyses, subscribed):
    seen = []

    def emit(name, doc):
        analyses(name, doc)
        seen.append((name, det.received))

    reducer = subscribed(StreamReducer("det", det.frames, emit=emit, qmap_for=qmap_for, config=CONFIG))
    take(RE, det, 1500)
    finished(reducer)
    running = analyses.stream("running")
    assert len({data["g2"].shape for data in running}) == 1  # one shape for all
    counts = [data["frames"] for data in running]
    assert counts
    assert min(counts) < 1500
    assert any(name == "event" and received < 1500 for name, received in seen)
    assert all(np.isfinite(data["g2"][0]).all() for data in running)


def broken_qmap(shape):
    raise ReductionError(f"the q-map does not fit {shape}")


class Unreducible(SeriesReduction):
    def push(self, batch):
        raise MemoryError("no memory for the correlation")


@pytest.mark.parametrize("where", ["begin", "push"])
def test_a_failing_reduction_never_harms_the_acquisition(
    RE, det, documents, analyses, subscribed, monkeypatch, where
):
    if where == "push":
        monkeypatch.setattr("apsdm_bluesky.callbacks._series_analysis.SeriesReduction", Unreducible)
    chooser = broken_qmap if where == "begin" else qmap_for
    reducer = subscribed(StreamReducer("det", det.frames, emit=analyses, qmap_for=chooser, config=CONFIG))
    take(RE, det, 200)
    finished(reducer)
    assert documents.stop["exit_status"] == "success"
    assert documents.ledger()["stored"] == 200
    assert analyses.stop["exit_status"] == "fail"
    assert {"begin": "does not fit", "push": "no memory"}[where] in analyses.stop["reason"]
    (ledger,) = analyses.stream("ledger")
    assert (ledger["done"], ledger["dropped"]) == (0, 200)


def test_a_result_that_cannot_be_published_fails_the_analysis_only(RE, det, documents, subscribed):
    seen = []

    def full_disk(name, doc):
        seen.append((name, doc))
        if name == "event" and "sum_image" in doc["data"]:
            raise OSError(28, "No space left on device")

    reducer = subscribed(StreamReducer("det", det.frames, emit=full_disk, qmap_for=qmap_for, config=CONFIG))
    take(RE, det, 50)
    finished(reducer)
    assert documents.stop["exit_status"] == "success"
    name, stop = seen[-1]
    assert (name, stop["exit_status"]) == ("stop", "fail")
    assert "No space left" in stop["reason"]


def test_a_reduction_that_is_too_slow_drops_and_counts(RE, det, documents, analyses, subscribed, monkeypatch):
    go = threading.Event()

    class Held(SeriesReduction):
        def push(self, batch):
            assert go.wait(60)
            super().push(batch)

    monkeypatch.setattr("apsdm_bluesky.callbacks._series_analysis.SeriesReduction", Held)
    small = open_device(det.prefix, det._raw_root, ring_mb=0.5)  # 85 frames
    config = CONFIG.model_copy(update={"on_overflow": "drop"})
    reducer = subscribed(StreamReducer("det", small.frames, emit=analyses, qmap_for=qmap_for, config=config))
    take(RE, small, 600)
    go.set()
    finished(reducer)
    small.destroy()
    assert documents.ledger()["stored"] == 600
    (ledger,) = analyses.stream("ledger")
    assert ledger["dropped"] > 0
    assert ledger["done"] + ledger["dropped"] == 600
    assert "dropped: slower than the detector" in analyses.stop["reason"]
    assert analyses.stop["exit_status"] == "success"


def test_lost_frames_never_shift_a_delay(RE, documents, analyses, subscribed, tmp_path):
    lost = {5, 40, 41, 100}
    with DetectorProcess("gappy:", SIMULATION, fault=Fault(drop=lost)):
        det = open_device("gappy:", tmp_path)
        reducer = subscribed(
            StreamReducer("det", det.frames, emit=analyses, qmap_for=qmap_for, config=CONFIG)
        )
        take(RE, det, 150)
        finished(reducer)
        det.destroy()
    frames = np.empty((150, *SIMULATION.shape), np.uint16)
    SAMPLE.series(documents.ledger()["first_id"]).fill(frames)
    kept = np.array([i for i in range(150) if i not in lost])
    offline = SeriesReduction(qmap_for(SIMULATION.shape), SeriesSettings(hot_pixel_frames=10))
    offline.push(FrameBatch(frames=frames[kept], indices=kept))
    (result,) = analyses.stream("primary")
    assert result["result_sha256"] == offline.result().sha256


INFO = AcquisitionInfo(expected=4, frame_shape=SIMULATION.shape, dtype="uint16", period_s=0.01)
LEDGER = FrameAudit(expected=4, base_id=0).ledger()
PRIMARY = {
    "object_keys": {"det": ["det_image"]},
    "data_keys": {"det_image": {"external": "STREAM:"}},
}


@pytest.fixture
def by_hand(analyses):
    """A reducer, and the stream that it attaches to."""
    frames = FrameStream()
    return StreamReducer("det", frames, emit=analyses, qmap_for=qmap_for, config=CONFIG), frames


def test_the_end_of_another_run_is_no_concern(by_hand):
    reducer, frames = by_hand
    reducer("start", {"uid": "mine"})
    reducer("start", {"uid": "other"})
    reducer("descriptor", {"run_start": "mine", **PRIMARY})
    reducer("stop", {"run_start": "other"})
    assert len(frames.lanes()) == 1
    reducer("stop", {"run_start": "mine"})
    assert frames.lanes() == []


def test_all_reductions_that_have_not_ended_are_known(by_hand):
    """An older one may be the slower."""
    reducer, frames = by_hand
    lanes = []
    for uid in ("first", "second", "never armed"):
        reducer("start", {"uid": uid})
        reducer("descriptor", {"run_start": uid, **PRIMARY})
        if uid != "never armed":
            (lane,) = frames.lanes()
            lane.begin(INFO)
            lanes.append(lane)
        reducer("stop", {"run_start": uid})
    assert [analysis.raw_uid for analysis in reducer.unfinished] == ["first", "second"]
    lanes[1].finish(LEDGER)
    assert lanes[1].join(30)
    assert [analysis.raw_uid for analysis in reducer.unfinished] == ["first"]
    lanes[0].finish(LEDGER)
    assert lanes[0].join(30)
    assert reducer.unfinished == []


def test_a_step_scan_gets_no_analysis(RE, det, analyses, subscribed):
    subscribed(StreamReducer("det", det.frames, emit=analyses, qmap_for=qmap_for, config=CONFIG))
    RE(bps.mv(det.cam.num_images, 2, det.cam.acquire_time, 0.002, det.cam.acquire_period, 0.002))
    RE(bp.count([det], 2))
    assert analyses.all == []
