"""The PVA source against a real server."""

import subprocess
import sys

import epics
import pytest

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sim import DetectorProcess
from apsdm_bluesky.sources import PvaSource
from tests.beamline import SIMULATION
from tests.waiting import wait_for


@pytest.fixture
def acquire(sound_detector):
    """Take so many frames, as any other client would."""
    for record, value in {
        "ImageMode": 1,
        "ArrayCallbacks": 1,
        "AcquireTime": 0.001,
        "AcquirePeriod": 0.001,
    }.items():
        epics.caput(f"{sound_detector}cam1:{record}", value, wait=True)
    epics.caput(f"{sound_detector}Pva1:EnableCallbacks", 1, wait=True)

    def take(frames):
        epics.caput(f"{sound_detector}cam1:NumImages", frames, wait=True)
        epics.caput(f"{sound_detector}cam1:Acquire", 1, wait=True, timeout=30)

    return take


@pytest.fixture
def source(sound_detector):
    made = PvaSource(f"{sound_detector}Pva1:Image")
    yield made
    made.stop()


def test_subscriptions_can_be_repeated(source, acquire):
    for _ in range(4):
        ids = []
        source.start(lambda frame, ids=ids: ids.append(frame.unique_id), queue_size=50)
        stale = ids[-1] if ids else 0
        acquire(20)
        wait_for(lambda ids=ids, stale=stale: len([i for i in ids if i > stale]) == 20, message="20 frames")
        new = [i for i in ids if i > stale]
        assert new == list(range(new[0], new[0] + 20))
        assert source.connected
        source.stop()


def test_nothing_comes_after_stop(source, acquire):
    seen = []
    source.start(seen.append, queue_size=50)
    source.stop()
    source.stop()
    count = len(seen)
    acquire(10)
    assert len(seen) == count


def test_the_latest_frame_can_be_asked_for(source, acquire):
    acquire(5)
    latest = source.latest()
    assert latest.data.shape == SIMULATION.shape
    acquire(3)
    wait_for(lambda: source.latest().unique_id == latest.unique_id + 3, message="the last frame's number")


def test_a_channel_before_its_first_frame():
    with DetectorProcess("fresh:", SIMULATION):
        source = PvaSource("fresh:Pva1:Image")
        seen = []
        source.start(seen.append, queue_size=5)
        assert source.latest() is None
        assert seen == []
        source.stop()


def test_a_channel_that_nobody_serves_is_told():
    with pytest.raises(ServiceError, match="nobody:Image does not answer"):
        PvaSource("nobody:Image", connect_timeout_s=0.3).start(print, queue_size=5)


def test_a_stop_in_mid_stream_does_not_kill_the_process():
    """It did, once in 50 times, by SIGSEGV: an abort took the session with it."""
    command = [sys.executable, "-m", "tests.sources.stopping", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)


def test_a_process_ends_though_its_sink_waits_for_ever(source, acquire):
    acquire(1)  # the channel has a value: the sink gets it at the start
    code = (
        "import logging, sys, threading\n"
        "from apsdm_bluesky.sources import PvaSource, _pva\n"
        "logging.basicConfig(format='%(message)s')\n"
        "_pva._EXIT_TIMEOUT_S = 0.1\n"
        "entered, never = threading.Event(), threading.Event()\n"
        f"source = PvaSource('{source.channel_name}')\n"
        "sink = lambda _: (entered.set(), never.wait())\n"
        "start = lambda: source.start(sink, queue_size=1)\n"
        "threading.Thread(target=start, daemon=True).start()\n"
        "sys.exit(0 if entered.wait(20) else 'no update')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.strip()) == (
        0,
        f"{source.channel_name}: what takes its frames has not come to an end",
    )
