"""The detector's process starts, tells why when it does not, and leaves no orphan."""

import os
import select
import signal
import subprocess
import sys

import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.sim import DetectorProcess

from .client import Client
from .conftest import SIMULATION


def ends(pid_fd):
    """Whether a process, not necessarily a child, ends in time."""
    return bool(select.select([pid_fd], [], [], 30)[0])


def test_start_and_stop_again_and_again():
    detector = DetectorProcess("again:", SIMULATION)
    for _ in range(2):
        detector.start()
        with pytest.raises(AcquisitionError, match="runs already"):
            detector.start()
        process = os.pidfd_open(detector.pid)
        detector.stop()
        detector.stop()
        assert ends(process)
        os.close(process)
    with pytest.raises(AcquisitionError, match="not started"):
        _ = detector.pid


def test_detectors_do_not_share_a_port(shared_detector):
    """Several servers on one host, all found, each by its own name."""
    with DetectorProcess("second:", SimulationConfig(shape=(20, 30))):
        assert Client("second:").get("cam1:SizeX_RBV") == 30
        assert Client("second:").image()["uniqueId"] == 0
        assert Client("shared:").get("cam1:SizeX_RBV") == 64


def test_unusable_frames_are_told_in_one_line(tmp_path):
    np.save(tmp_path / "bad.npy", np.zeros((2, 8, 8), np.float64))
    detector = DetectorProcess("bad:", SimulationConfig(frames_file=tmp_path / "bad.npy"))
    with pytest.raises(AcquisitionError, match=r"bad\.npy: holds float64; save counts") as caught:
        detector.start()
    assert "\n" not in str(caught.value)


def test_crash_at_the_start_shows_the_end_of_its_log(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(AcquisitionError, match=r"ended at its start: .*encodings") as caught:
        DetectorProcess("crash:", SIMULATION).start()
    assert "\n" not in str(caught.value)


def test_log_file_gets_stderr(tmp_path):
    log = tmp_path / "detector.log"
    with DetectorProcess("logged:", SIMULATION, log=log):
        Client("logged:").pv("cam1:AcquireTime").put(float("nan"), wait=True)
    assert "nan is no finite number" in log.read_text()
    with pytest.raises(AcquisitionError, match="log cannot be written"):
        DetectorProcess("logged:", SIMULATION, log=log / "below").start()


def test_sigterm_ends_it_in_mid_run():
    with DetectorProcess("term:", SIMULATION) as detector:
        client = Client("term:")
        client.prepare(100_000)
        client.start()
        process = os.pidfd_open(detector.pid)
        os.kill(detector.pid, signal.SIGTERM)
        assert ends(process)
        os.close(process)


PARENT = """
import sys
from apsdm_bluesky.sim import DetectorProcess, isolate_epics
from apsdm_bluesky.config import SimulationConfig
isolate_epics()
detector = DetectorProcess("orphan:", SimulationConfig())
detector.start()
print(detector.pid, flush=True)
sys.stdin.read()
"""


def test_it_dies_with_its_parent():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        assert ends(child)
        os.close(child)
