"""A run recorded live, its recording replayed, and the same frames reduced offline: one result."""

import json

import numpy as np
import pytest

from apsdm_bluesky.config import (
    BeamlineConfig,
    DetectorConfig,
    QMapConfig,
    ReductionConfig,
    SimulationConfig,
)
from apsdm_bluesky.formats import Recording
from apsdm_bluesky.model import EventBatch, EventFrame, FrameBatch
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.reduction import QMap, SeriesReduction
from apsdm_bluesky.session import open_session
from apsdm_bluesky.sources import ReplaySource
from tests.waiting import wait_for

from .conftest import apsdm

FRAMES = 120
SHAPE = (64, 72)
QMAP = QMapConfig(center=(35.5, 31.5), dynamic_bins=4)


def rings(shape):
    return QMap.rings(shape, QMAP.center, dynamic_bins=QMAP.dynamic_bins, static_per_dynamic=3)


@pytest.fixture(scope="module", params=["images", "events"])
def live(request, tmp_path_factory):
    """The recording and the result's hash of a live run: compressed images, or packed events."""
    each = {"images": 1, "events": 50}[request.param]
    prefix = f"{request.param}:"
    config = BeamlineConfig(
        home=tmp_path_factory.mktemp("live"),
        server={"port": 1},  # nobody's: the documents stay in the spool
        detectors={
            "sim_det": DetectorConfig(
                prefix=prefix, record=True, layout=request.param, frames_per_message=each
            )
        },
        simulation=SimulationConfig(shape=SHAPE, codec="lz4"),
        reduction=ReductionConfig(qmap=QMAP, on_overflow="block"),
    )
    with open_session(config) as session:
        device = session.devices["sim_det"]
        session.RE(xpcs_series(device, FRAMES, acquire_period=0.002, acquire_time=0.002))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(60)
        path = device.recording
        wait_for(lambda: Recording(path).end(), message="the end of the recording")
    return path, analysis.result.sha256


def test_frames_of_the_recording_reduced_offline_have_the_result_of_the_live_run(live):
    path, sha256 = live
    recording = Recording(path)
    series, shift = SeriesReduction(rings(SHAPE)), recording.base_id + 1

    def push(message):
        first = (message.unique_id - shift) * recording.acquisition.frames_per_message
        if message.unique_id < shift:
            return
        indices = np.arange(first, first + message.count)
        if isinstance(message, EventFrame):
            batch = EventBatch(
                words=message.words, offsets=message.offsets, indices=indices, shape=message.shape
            )
        else:
            batch = FrameBatch(frames=message.data[None], indices=indices)
        series.push(batch)

    source = ReplaySource(recording, speed=0)
    source.start(push, queue_size=1)
    wait_for(lambda: not source.playing, message="the end of the replay")
    source.stop()
    assert series.result().sha256 == sha256


def test_a_replay_has_the_result_of_the_live_run(live, beamline):
    path, sha256 = live
    options = ("--rings", QMAP.dynamic_bins, "--center", ",".join(map(str, QMAP.center)), "--json")
    told = json.loads(apsdm("replay", path, "--speed", 0, *options, home=beamline.home).stdout)
    assert told["frames"]["received"] == told["frames"]["reduced"] == told["frames"]["stored"] == FRAMES
    run = beamline.client["processed"][told["processed_uid"]]
    assert run["primary"]["result_sha256"].read()[0] == sha256
