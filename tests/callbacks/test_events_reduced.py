"""Packed events through receiver, lane and reducer: with losses, and slower than the detector."""

import dataclasses
import json
import threading

import numpy as np
import pytest
from event_model import compose_run

from apsdm_bluesky.callbacks import StreamReducer
from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.model import CorruptFrame, EventFrame, FrameBatch
from apsdm_bluesky.reduction import QMap, SeriesReduction, SeriesSettings, pack_events
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, FrameStream, Receiver

from .test_stream_reducer import Analyses

SHAPE, EACH, MESSAGES = (24, 32), 10, 30
FRAMES = np.random.default_rng(1).poisson(0.3, (EACH * MESSAGES, *SHAPE)).astype(np.uint16)
QMAP = QMap.rings(SHAPE, (15.5, 11.5), dynamic_bins=3, r_min=0)
INFO = AcquisitionInfo(
    expected=len(FRAMES),
    frame_shape=SHAPE,
    dtype="uint16",
    period_s=0.001,
    frames_per_message=EACH,
    events=True,
)


def message(number):
    """Message `number`, from 1: the id that its frames travel under."""
    events = pack_events(FrameBatch(frames=frames_of(number), indices=np.arange(EACH)))
    return EventFrame(
        unique_id=number, timestamp=0.0, words=events.words, offsets=events.offsets, shape=events.shape
    )


def frames_of(number):
    return FRAMES[(number - 1) * EACH : number * EACH]


@pytest.fixture
def analyses():
    return Analyses()


def reduced(updates, analyses, *, overflow="block", ring_bytes=2**20):
    """Give the updates to a run's reducer; returns its ended analysis."""
    stream = FrameStream()
    config = ReductionConfig(interval_s=1e-6, hot_pixel_frames=0, on_overflow=overflow)
    reducer = StreamReducer("det", stream, emit=analyses, qmap_for=lambda _: QMAP, config=config)
    run = compose_run()
    image = {"source": "det", "dtype": "array", "shape": list(SHAPE), "external": "STREAM:"}
    primary = run.compose_descriptor(
        name="primary", data_keys={"det_image": image}, object_keys={"det": ["det_image"]}
    )
    reducer("start", run.start_doc)
    reducer("descriptor", primary.descriptor_doc)
    receiver = Receiver(INFO, base_id=0, pool=BlockPool(ring_bytes, INFO), lanes=stream.lanes())
    for update in updates:
        receiver(update)
    receiver.close()
    reducer("stop", run.compose_stop())
    return reducer.last


def offline(kept):
    indices = np.concatenate([np.arange((k - 1) * EACH, k * EACH) for k in kept])
    series = SeriesReduction(QMAP, SeriesSettings(hot_pixel_frames=0))
    series.push(FrameBatch(frames=FRAMES[indices], indices=indices))
    return series.result()


def test_every_count_of_the_ledger_stands_in_the_analysis(analyses):
    corrupt = CorruptFrame(unique_id=20, reason="torn")
    kept = [k for k in range(1, MESSAGES + 1) if k not in (5, 6, 20)]
    left = dataclasses.replace(message(1), unique_id=0)  # from before
    updates = [left, *(corrupt if k == 20 else message(k) for k in range(1, MESSAGES + 1) if k != 5)]
    updates.remove(updates[5])  # number 6
    updates[10:10] = [message(3), message(5)]  # a duplicate, and one that came too late
    analysis = reduced(updates, analyses)
    assert analysis.ended.wait(60)
    (ledger,) = analyses.stream("ledger")
    counts = {
        "expected": 300,
        "accepted": 270,
        "corrupt": 10,
        "missing": 20,
        "updates": 310,
        "duplicate": 10,
        "stale": 20,
        "out_of_order": 10,
        "done": 270,
        "dropped": 0,
        "reason": "",
    }
    assert {**ledger, "gaps": json.loads(ledger["gaps"])} == {**counts, "gaps": [[40, 20]]}
    (result,) = analyses.stream("primary")
    expected = offline(kept)
    assert result["result_sha256"] == expected.sha256
    np.testing.assert_array_equal(result["iqt"], expected.stats.iqt)
    np.testing.assert_array_equal(
        np.flatnonzero(result["iqt_frames"] == 0), [*range(40, 60), *range(190, 200)]
    )


def test_what_is_dropped_is_a_gap(analyses, monkeypatch):
    go = threading.Event()

    class Held(SeriesReduction):
        def push(self, batch):
            assert go.wait(60)
            super().push(batch)

    monkeypatch.setattr("apsdm_bluesky.callbacks._series_analysis.SeriesReduction", Held)
    analysis = reduced(
        map(message, range(1, MESSAGES + 1)),
        analyses,
        overflow="drop",
        ring_bytes=8 * 4 * message(1).words.nbytes,
    )
    go.set()
    assert analysis.ended.wait(60)
    (ledger,) = analyses.stream("ledger")
    assert ledger["done"] + ledger["dropped"] == ledger["accepted"] == 300
    assert ledger["dropped"] > 0
    (result,) = analyses.stream("primary")
    assert len(result["frame_index"]) == ledger["done"]
    kept = sorted({index // EACH + 1 for index in result["frame_index"].tolist()})
    assert result["result_sha256"] == offline(kept).sha256
    assert all(np.isfinite(event["g2"][0]).all() for event in analyses.stream("running"))


def test_a_run_without_a_frame_has_an_analysis_that_failed_and_says_why(analyses):
    analysis = reduced([CorruptFrame(unique_id=1, reason="torn")], analyses)
    assert analysis.ended.wait(60)
    assert (analysis.result, analysis.fate.reason) == (None, "no frame came that could be reduced")
    assert analyses.stop["exit_status"] == "fail"
    assert analyses.stop["reason"] == analysis.fate.reason
    assert analyses.stream("primary") == []
