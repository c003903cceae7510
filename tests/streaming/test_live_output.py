"""Running results on PVA channels, read by another process."""

import logging
import subprocess
import sys

import numpy as np
import pvaccess
import pytest

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.reduction import MultiTau, QMap, RunningResult, Saxs
from apsdm_bluesky.streaming import LiveOutput, LiveServer
from tests.reduction.reference import batch

from .live_client import assert_shows, display

SHAPE = (12, 15)


def reduced(number, bins=3, shape=SHAPE):
    qmap = QMap.rings(shape, (6.3, 5.1), dynamic_bins=bins, r_min=0, r_max=9)
    frames = batch(np.random.default_rng(number).poisson(0.7, (number, *shape)).astype(np.uint16))
    multitau, saxs = MultiTau(qmap), Saxs(qmap)
    for reduction in (multitau, saxs):
        reduction.push(frames)
    return RunningResult(multitau=multitau.result(), saxs=saxs.result())


@pytest.fixture
def server():
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


def test_a_display_sees_each_result(server, tmp_path):
    output = LiveOutput(server, "live:a:", q_bins=3)
    with display("live:a:", 60, tmp_path / "read.npz"):
        output.publish(reduced(40), missing=0)
        output.publish(reduced(60), missing=5)
    shown = assert_shows(tmp_path / "read.npz", reduced(60))
    assert (shown["missing"], shown["sum.uniqueId"]) == (5, 2)
    assert shown["frames"][0] == 0


def test_bins_that_a_result_has_not_are_nan(server, tmp_path):
    output = LiveOutput(server, "live:b:", q_bins=4)
    with display("live:b:", 30, tmp_path / "read.npz"):
        output.publish(reduced(30, bins=2, shape=(20, 24)), missing=0)
    assert_shows(tmp_path / "read.npz", reduced(30, bins=2, shape=(20, 24)), columns=4)


def test_more_bins_than_columns_are_told(server, caplog):
    LiveOutput(server, "live:h:", q_bins=2).publish(reduced(30, bins=3), missing=0)
    assert "live output fails: g2 has 3 bins, its channel 2; start a new session" in caplog.text


def test_channels_cannot_be_written(server):
    LiveOutput(server, "live:c:", q_bins=3)
    with pytest.raises(pvaccess.PvaException, match="not allowed"):
        reader("live:c:frames").put(7)
    assert reader("live:c:frames").get()["value"] == 0


def reader(name):
    channel = pvaccess.Channel(name)
    channel.setTimeout(30)  # a busy machine may take longer than the default of 3 s to connect
    return channel


def test_servers_may_follow_each_other():
    for _ in range(3):
        server = LiveServer("127.0.0.1")
        output = LiveOutput(server, "live:d:", q_bins=3)
        output.publish(reduced(20), missing=0)
        assert reader("live:d:frames").get()["value"] == 20
        server.stop()
        server.stop()


def test_a_prefix_that_is_taken(server):
    LiveOutput(server, "live:e:", q_bins=3)
    other = LiveServer("127.0.0.1")
    try:
        with pytest.raises(ServiceError, match="live_prefix of its own") as caught:
            LiveOutput(other, "live:e:", q_bins=3)
        assert "\n" not in str(caught.value)
    finally:
        other.stop()
    assert reader("live:e:frames").get()["value"] == 0


def test_an_address_that_is_not_of_this_machine():
    with pytest.raises(ServiceError, match=r"no PVA server at 192\.0\.2\.77") as caught:
        LiveServer("192.0.2.77")
    assert "\n" not in str(caught.value)


def test_a_failure_is_logged_once_and_harms_nobody(server, caplog):
    output = LiveOutput(server, "live:f:", q_bins=3)
    server.stop()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            output.publish(reduced(20), missing=0)
    (record,) = caplog.records
    assert record.getMessage().startswith("live:f:: live output fails: ")


LEFT_OPEN = """
from apsdm_bluesky.sim import isolate_epics
isolate_epics()
from apsdm_bluesky.streaming import LiveOutput, LiveServer
LiveOutput(LiveServer("127.0.0.1"), "live:g:", q_bins=3)
"""


def test_a_process_that_does_not_stop_its_server_ends_cleanly():
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
