"""Every source of frames passes the published suite: PVA servers, the simulated detector, replays."""

import contextlib
import subprocess
import sys

import epics
import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.formats import open_replay
from apsdm_bluesky.sim import DetectorProcess
from apsdm_bluesky.sources import PvaSource, Recorder, ReplaySource
from apsdm_bluesky.testing import Feed, FrameSourceConformance
from tests.waiting import wait_for

IMAGES = np.random.default_rng(3).poisson(2.0, (24, 48, 64)).astype(np.uint16)


@pytest.fixture(scope="module")
def images_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, IMAGES)
    return path


@pytest.fixture(scope="module")
def bare_server(images_file):
    """What makes a server without anything of areaDetector send."""
    command = [sys.executable, "-m", "tests.sources.publisher", "bare:Image", str(images_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"

        def send():
            process.stdin.write("send\n")
            process.stdin.flush()
            assert process.stdout.readline() == "sent\n"

        yield send
        process.stdin.close()


@pytest.fixture(scope="module")
def simulated(images_file):
    """What makes the simulated detector send."""
    with DetectorProcess("conform:", SimulationConfig(frames_file=images_file)):
        settings = {
            "cam1:ImageMode": 1,
            "cam1:NumImages": len(IMAGES),
            "cam1:AcquireTime": 0.001,
            "cam1:AcquirePeriod": 0.001,
            "Pva1:EnableCallbacks": 1,
        }
        for record, value in settings.items():
            epics.caput(f"conform:{record}", value, wait=True, timeout=20)
        yield lambda: epics.caput("conform:cam1:Acquire", 1, wait=True, timeout=30)


class OverPva(FrameSourceConformance):
    channel: str
    send: object

    @contextlib.contextmanager
    def feed(self):
        source = PvaSource(self.channel)
        yield Feed(source=source, send=self.send, images=IMAGES)
        source.stop()


class TestBarePva(OverPva):
    @pytest.fixture(autouse=True)
    def _server(self, bare_server):
        self.channel, self.send = "bare:Image", bare_server


class TestSimulatedDetector(OverPva):
    @pytest.fixture(autouse=True)
    def _server(self, simulated):
        self.channel, self.send = "conform:Pva1:Image", simulated


@pytest.fixture(scope="module")
def recording(bare_server, tmp_path_factory):
    """What the bare server sent once, from its first message on."""
    path = tmp_path_factory.mktemp("recordings") / "bare.arrows"
    source, numbers = PvaSource("bare:Image"), []
    source.start(lambda message: numbers.append(message.unique_id), queue_size=30)
    recorder = source.record = Recorder(path, {"channel": "bare:Image"})
    stale = numbers[-1] if numbers else 0
    bare_server()
    wait_for(lambda: numbers and numbers[-1] == stale + len(IMAGES), message="all images")
    source.stop()
    recorder.close(base_id=stale)
    assert (recorder.recorded, recorder.lost) == (len(IMAGES), 0)
    return path


class Replay(FrameSourceConformance):
    path: object

    @contextlib.contextmanager
    def feed(self):
        source = ReplaySource(open_replay(self.path), period_s=0.001)
        yield Feed(source=source, send=lambda: None, images=IMAGES)
        source.stop()


class TestReplayOfASeries(Replay):
    @pytest.fixture(autouse=True)
    def _file(self, images_file):
        self.path = images_file


class TestReplayOfARecording(Replay):
    @pytest.fixture(autouse=True)
    def _file(self, recording):
        self.path = recording
