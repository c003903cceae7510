"""The camera without any protocol."""

import threading
import time

import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import unpack_events
from apsdm_bluesky.sim import Fault
from apsdm_bluesky.sim._camera import Camera, DetectorState, ImageMode
from apsdm_bluesky.sim._frame_source import open_source

TIMEOUT = 30
FRAMES = np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8) % 40


class Plugin:
    """Keeps what it gets: (number, time, frames, images)."""

    def __init__(self, fail_at=None):
        self.messages, self.begun, self.fail_at = [], 0, fail_at

    def begin(self, stop):
        assert not stop.is_set()
        self.begun += 1

    def publish(self, message, number, timestamp):
        if number == self.fail_at:
            raise RuntimeError("the network is gone")
        images = message.data if message.data.ndim == 3 else unpacked(message)
        self.messages.append((number, timestamp, message.frames, images.copy()))

    @property
    def numbers(self):
        return [number for number, *_ in self.messages]

    @property
    def images(self):
        return np.concatenate([images for *_, images in self.messages])


def unpacked(message):
    frames = (message.data >> np.uint64(40)).astype(int) - message.first_frame
    offsets = np.searchsorted(frames, np.arange(message.frames + 1))
    batch = EventBatch(
        words=message.data, offsets=offsets, indices=np.arange(message.frames), shape=FRAMES.shape[1:]
    )
    return unpack_events(batch).frames


def camera_of(plugin, frames_file, n, fault=None, *, layout="images", each=1):
    source = open_source(SimulationConfig(frames_file=frames_file), layout)
    camera = Camera(source, plugin, fault or Fault(), frames_per_message=each)
    camera.image_mode, camera.num_images = ImageMode.Multiple, n
    camera.acquire_time = camera.acquire_period = 0.0
    return camera


@pytest.fixture
def frames_file(tmp_path):
    np.save(tmp_path / "f.npy", FRAMES)
    return tmp_path / "f.npy"


@pytest.mark.parametrize(("n", "each"), [(40, 1), (40, 8)])
def test_no_message_comes_before_its_last_frame(frames_file, n, each):
    plugin = Plugin()
    camera = camera_of(plugin, frames_file, n, each=each)
    camera.acquire_period = 0.005
    start = time.time()
    assert camera.start().wait(TIMEOUT)
    assert len(plugin.messages) == n // each
    assert all(
        when - start > (index + 1) * each * 0.005 - 0.001
        for index, (_, when, *_) in enumerate(plugin.messages)
    )


def test_no_images_means_one(frames_file):
    plugin = Plugin()
    camera = camera_of(plugin, frames_file, 0)
    assert camera.start().wait(TIMEOUT)
    assert plugin.numbers == [1]


def test_failure_is_a_state_and_the_next_start_works(frames_file, caplog):
    camera = camera_of(Plugin(fail_at=2), frames_file, 5)
    assert camera.start().wait(TIMEOUT)
    assert camera.state == DetectorState.Error
    assert not camera.acquiring
    assert "the network is gone" in caplog.text
    assert camera.start().wait(TIMEOUT)
    assert camera.state == DetectorState.Idle
    assert camera.array_counter == 7


def test_fault_applies_to_every_acquisition(frames_file):
    plugin = Plugin()
    camera = camera_of(plugin, frames_file, 3, Fault(drop={1}, duplicate={0}))
    for _ in range(2):
        assert camera.start().wait(TIMEOUT)
    assert plugin.numbers == [1, 1, 3, 4, 4, 6]
    assert plugin.begun == 2
    assert camera.arrays_lost == 2


@pytest.mark.parametrize("layout", ["images", "events"])
@pytest.mark.parametrize("each", [1, 2, 3, 4, 7, 20])
def test_a_files_frames_come_in_turn_whatever_a_message_holds(frames_file, layout, each):
    plugin = Plugin()
    camera = camera_of(plugin, frames_file, 17, layout=layout, each=each)
    for base in (0, -(-17 // each)):
        plugin.messages.clear()
        assert camera.start().wait(TIMEOUT)
        counts = [min(each, 17 - taken) for taken in range(0, 17, each)]
        assert [frames for _, _, frames, _ in plugin.messages] == counts
        assert plugin.numbers == list(range(base + 1, base + 1 + len(counts)))
        assert camera.num_images_counter == 17
        assert np.array_equal(plugin.images, FRAMES[np.arange(17) % 3])


def test_a_sample_is_the_same_whatever_a_message_holds():
    simulation = SimulationConfig(shape=(8, 8), beam_stop_radius=1)
    taken = {}
    for layout, each in (("images", 1), ("images", 5), ("events", 7)):
        plugin = Plugin()
        camera = Camera(open_source(simulation, layout), plugin, Fault(), frames_per_message=each)
        camera.image_mode, camera.num_images = ImageMode.Multiple, 23
        camera.acquire_time = camera.acquire_period = 0.0
        assert camera.start().wait(TIMEOUT)
        taken[layout, each] = plugin.images
    first, *others = taken.values()
    assert len(first) == 23
    assert all(np.array_equal(first, other) for other in others)


def test_stop_leaves_out_the_message_that_is_not_complete(frames_file):
    plugin = Plugin()
    camera = camera_of(plugin, frames_file, 100, each=50)
    camera.acquire_period = 3600.0
    ended = camera.start()
    camera.stop()
    assert ended.wait(TIMEOUT)
    assert (plugin.messages, camera.array_counter, camera.num_images_counter) == ([], 0, 0)


def test_stop_ends_a_plugin_that_waits(frames_file):
    class Waiting(Plugin):
        def begin(self, stop):
            self.stop, self.entered = stop, threading.Event()

        def publish(self, *_):
            self.entered.set()
            self.stop.wait(TIMEOUT)

    plugin = Waiting()
    camera = camera_of(plugin, frames_file, 10)
    ended = camera.start()
    assert plugin.entered.wait(TIMEOUT)
    camera.stop()
    assert ended.wait(TIMEOUT)
    assert camera.array_counter == 1


def test_frames_that_fit_no_event_are_refused(tmp_path):
    np.save(tmp_path / "bright.npy", np.full((1, 4, 4), 5000, np.uint16))
    with pytest.raises(ReductionError, match="5000 does not fit"):
        open_source(SimulationConfig(frames_file=tmp_path / "bright.npy"), "events")
