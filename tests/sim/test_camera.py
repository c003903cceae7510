"""The camera without any protocol."""

import time

import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import Fault
from apsdm_bluesky.sim._camera import Camera, DetectorState, ImageMode
from apsdm_bluesky.sim._frame_source import open_source

TIMEOUT = 30


def camera_of(publish, frames_file, n, fault=None):
    camera = Camera(open_source(SimulationConfig(frames_file=frames_file)), publish, fault or Fault())
    camera.image_mode, camera.num_images = ImageMode.Multiple, n
    camera.acquire_time = camera.acquire_period = 0.0
    return camera


@pytest.fixture
def frames_file(tmp_path):
    np.save(tmp_path / "f.npy", np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8))
    return tmp_path / "f.npy"


def test_no_frame_comes_before_its_time(frames_file):
    times = []
    camera = camera_of(lambda _image, _number, when: times.append(when), frames_file, 40)
    camera.acquire_period = 0.005
    start = time.time()
    assert camera.start().wait(TIMEOUT)
    assert len(times) == 40
    assert all(when - start > index * 0.005 for index, when in enumerate(times))


def test_no_images_means_one(frames_file):
    numbers = []
    camera = camera_of(lambda _image, number, _when: numbers.append(number), frames_file, 0)
    assert camera.start().wait(TIMEOUT)
    assert numbers == [1]


def test_failure_is_a_state_and_the_next_start_works(frames_file, caplog):
    def publish(_image, number, _when):
        if number == 2:
            raise RuntimeError("the network is gone")

    camera = camera_of(publish, frames_file, 5)
    assert camera.start().wait(TIMEOUT)
    assert camera.state == DetectorState.Error
    assert not camera.acquiring
    assert "the network is gone" in caplog.text
    assert camera.start().wait(TIMEOUT)
    assert camera.state == DetectorState.Idle
    assert camera.array_counter == 7


def test_fault_applies_to_every_acquisition(frames_file):
    numbers = []
    fault = Fault(drop={1}, duplicate={0})
    camera = camera_of(lambda _image, number, _when: numbers.append(number), frames_file, 3, fault)
    for _ in range(2):
        assert camera.start().wait(TIMEOUT)
    assert numbers == [1, 1, 3, 4, 4, 6]
    assert camera.frames_lost == 2
