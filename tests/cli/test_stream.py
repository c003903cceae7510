"""`apsdm stream` with real processes: two consumers, a collector, a PVA server of images."""

import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from apsdm_bluesky.cli._stream_state import StateFile
from apsdm_bluesky.config import load_config
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import QMap, SeriesReduction
from tests.commands import all_gone, apsdm, children, started, told
from tests.waiting import wait_for

CENTER = (32.0, 32.0)
FRAMES = 400  # of a series; a consumer's queue at the source's server holds 256 of its half


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(7).poisson(0.3, (3 * FRAMES, 64, 64)).astype(np.uint16)
    images[::7, 10, 12] = 5000  # does not fit an event word: such frames go on dense
    return images


class Source:
    """The detector: sends the images of the series it is at, numbered on."""

    def __init__(self, process):
        self._process = process
        self.base_id = self._sent = 0

    def begin(self):
        """A new series, which goes on from the number of the last message."""
        self.base_id = self._sent

    def send(self, first, last):
        """Frames of this series, counted from 0; returns when they are sent."""
        self._sent = self.base_id + last
        self._process.stdin.write(f"{self.base_id + first + 1} {self._sent}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "sent\n"


@pytest.fixture(scope="module")
def source(images, tmp_path_factory):
    file = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(file, images)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.stream_source", "stream:Pva1:Image", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield Source(process)
        process.stdin.close()


@pytest.fixture
def config(write_config):
    return write_config(
        detectors={"det": {"prefix": "stream:", "stall_timeout_s": 60}},
        reduction={"qmap": {"center": CENTER, "dynamic_bins": 3}},
        stream={"frames": FRAMES, "window": 50},
    )


def read(process):
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def status(config):
    """What `apsdm stream status` reads, without a process each time."""
    return StateFile(load_config(config).folders).read()


def delivered(config):
    return sum(counts["delivered"] for counts in status(config)["consumers"].values())


def reference(images, kept):
    """What a single process gets from the frames of these indices."""
    series = SeriesReduction(QMap.rings((64, 64), CENTER, dynamic_bins=3))
    indices = np.asarray(kept, np.int64)
    series.push(FrameBatch(frames=images[indices], indices=indices))
    return series.result()


def test_a_group_gets_what_one_process_gets(config, source, images):
    source.begin()
    with started("stream", "start", "--config", config, "--json") as process:
        ready = read(process)
        assert set(ready["alive"]) == {"1", "2"}
        refused = apsdm("stream", "start", "--config", config, check=False)
        assert refused.returncode == 1
        assert f"a stream group runs here already (pid {process.pid})" in told(refused)
        source.send(0, FRAMES)
        ledger = read(process)
        assert process.wait(20) == 0, process.stderr.read()
        all_gone(ready["alive"].values())
    assert (ledger["accepted"], ledger["missing"], ledger["gaps"]) == (FRAMES, 0, [])
    counts = ledger["consumers"]
    assert [counts[n]["delivered"] for n in "12"] == [FRAMES // 2 + 1] * 2  # and the value from before
    assert [counts[n]["lost"] for n in "12"] == [0, 0]
    expected = reference(images[source.base_id :], range(FRAMES))
    assert ledger["result_sha256"] == expected.sha256
    with np.load(ledger["result"]) as result:
        np.testing.assert_array_equal(result["multitau_g2"], expected.multitau.g2)
    last = json.loads(apsdm("stream", "status", "--config", config, "--json").stdout)
    assert last == {"running": False, **ledger}


def test_a_killed_consumer_ends_in_counted_missing_frames(config, source, images):
    source.begin()
    with started("stream", "start", "--config", config, "--json") as process:
        first = read(process)["alive"]
        source.send(0, 100)
        wait_for(lambda: delivered(config) == 102, 60, "the first frames at the collector")
        os.kill(first["2"], signal.SIGSTOP)  # what is sent to it now is lost with it
        source.send(100, 110)
        os.kill(first["2"], signal.SIGKILL)
        wait_for(lambda: status(config)["alive"]["2"] not in (None, first["2"]), 60, "a new consumer 2")
        again = status(config)["alive"]["2"]
        # It has called before it subscribes; what is sent while it does may be lost at the source.
        wait_for(lambda: status(config)["consumers"]["2"]["received"] == 52, 60, "its first message")
        source.send(110, FRAMES)
        ledger = read(process)
        assert process.wait(20) == 0, process.stderr.read()
    missing = list(itertools.chain.from_iterable(range(begin, begin + n) for begin, n in ledger["gaps"]))
    # Every other one of those sent meanwhile; but a consumer that starts gets the channel's last one.
    assert len(missing) in (4, 5)
    assert {index % 2 for index in missing} <= {missing[0] % 2}
    assert 100 <= missing[0] <= missing[-1] < 110
    assert (ledger["accepted"], ledger["missing"]) == (FRAMES - len(missing), len(missing))
    assert [(death["consumer"], death["how"]) for death in ledger["deaths"]] == [(2, "killed by signal 9")]
    assert ledger["consumers"]["2"]["process"] == again
    kept = sorted(set(range(FRAMES)) - set(missing))
    assert ledger["result_sha256"] == reference(images[source.base_id :], kept).sha256


def test_nothing_outlives_a_killed_group_and_the_next_one_works(config, source, images):
    source.begin()
    with started("stream", "start", "--config", config, "--json") as process:
        pids = [*read(process)["alive"].values()]
        assert set(pids) == set(children(process.pid))
        source.send(0, 50)
        process.kill()
        process.wait(10)
        all_gone(pids, 40)
    with started("stream", "start", "--config", config, "--json") as process:
        read(process)
        source.send(50, 150)
        wait_for(lambda: delivered(config) >= 102, 60, "the frames at the collector")
        assert apsdm("stream", "stop", "--config", config).stdout == "stopped\n"
        ledger = read(process)
        assert process.wait(20) == 0
    assert (ledger["base_id"], ledger["accepted"], ledger["missing"]) == (source.base_id + 50, 100, 300)
    assert ledger["reason"] == "stopped"
    assert ledger["result_sha256"] == reference(images[source.base_id + 50 :], range(100)).sha256
    assert apsdm("stream", "stop", "--config", config).stdout == "no group runs here\n"
