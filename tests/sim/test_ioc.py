"""The simulated IOC, over real PVA and Channel Access, behaves as a real areaDetector IOC was seen to."""

import os
import signal

import numpy as np
import pvaccess
import pytest
from pvapy.utility.adImageUtility import AdImageUtility

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.model import EventBatch, Frame
from apsdm_bluesky.reduction import unpack_events
from apsdm_bluesky.sim import DetectorProcess, Fault, SpeckleSample
from apsdm_bluesky.sources import PvaSource
from tests.waiting import wait_for

from .client import TIMEOUT, Client, ids, images
from .conftest import SIMULATION


def expected_images(simulation, first_id, n):
    sample = SpeckleSample(simulation)
    out = np.empty((n, *sample.shape), np.uint16)
    sample.series(first_id).fill(out)
    return out


def test_fresh_ioc_has_an_empty_image_and_unhelpful_settings():
    with DetectorProcess("fresh:", SIMULATION):
        client = Client("fresh:")
        update = client.image()
        assert update["uniqueId"] == 0
        assert update["value"][0] == {}
        assert update["dimension"] == []
        for stamp in ("timeStamp", "dataTimeStamp"):
            assert update[stamp] == {"secondsPastEpoch": 0, "nanoseconds": 0, "userTag": 0}
        assert client.get("cam1:ImageMode_RBV", as_string=True) == "Continuous"
        assert client.get("cam1:NumImages_RBV") == 100
        assert client.get("Pva1:EnableCallbacks_RBV") == 0
        assert client.get("cam1:ArrayCallbacks_RBV") == 1
        assert client.get("cam1:DetectorState_RBV", as_string=True) == "Idle"
        assert client.get("cam1:Acquire") == client.get("cam1:Acquire_RBV") == client.counter() == 0


def test_constant_readbacks(ioc):
    assert [ioc.get(f"cam1:{name}_RBV") for name in ("SizeX", "MaxSizeX")] == [64, 64]
    assert [ioc.get(f"cam1:{name}_RBV") for name in ("SizeY", "MaxSizeY")] == [48, 48]
    assert ioc.get("cam1:DataType_RBV", as_string=True) == "UInt16"
    assert ioc.get("cam1:PortName_RBV") == ioc.get("Pva1:NDArrayPort_RBV") == "SIM1"
    assert ioc.get("Pva1:PvName_RBV") == "shared:Pva1:Image"


def test_image_is_laid_out_as_areadetector_does(ioc):
    ioc.acquire()
    update = ioc.image()
    assert [side["size"] for side in update["dimension"]] == [64, 48]
    assert [side["fullSize"] for side in update["dimension"]] == [64, 48]
    assert update["codec"]["name"] == ""
    assert update["codec.parameters"][0]["value"] == int(pvaccess.USHORT)
    assert update["uncompressedSize"] == 48 * 64 * 2
    assert update["compressedSize"] != update["uncompressedSize"]
    assert update.getSelectedUnionFieldName() == "ushortValue"
    assert update["attribute"][0]["name"] == "ColorMode"
    assert update["timeStamp"]["secondsPastEpoch"] > 1.7e9
    assert AdImageUtility.reshapeNtNdArray(update)[1].shape == (48, 64)


def test_ids_go_on_across_runs_and_images_are_the_samples(ioc):
    for n in (5, 3):
        base = ioc.counter()
        ioc.prepare(n)
        with ioc.monitor() as updates:
            ioc.acquire()
            assert ioc.counter() == base + n
            assert ioc.get("cam1:NumImagesCounter_RBV") == n
            wait_for(lambda n=n, updates=updates: len(updates) >= n, message="all frames")
            assert ids(updates) == list(range(base + 1, base + n + 1))
        assert np.array_equal(images(updates), expected_images(SIMULATION, base + 1, n))


def test_stale_image_is_sent_to_a_new_monitor(ioc):
    ioc.acquire()
    assert ioc.image()["uniqueId"] == ioc.counter()
    ioc.prepare(1, **{"Pva1:EnableCallbacks": 0})
    ioc.acquire()
    assert ioc.image()["uniqueId"] == ioc.counter() - 1


def test_start_completes_at_the_end(ioc):
    ioc.prepare(20, period=0.02)
    completed = ioc.start()
    wait_for(lambda: 0 < ioc.get("cam1:NumImagesCounter_RBV") < 20, message="some frames")
    assert not completed.is_set()
    assert ioc.get("cam1:Acquire") == ioc.get("cam1:Acquire_RBV") == ioc.get("cam1:AcquireBusy") == 1
    assert completed.wait(TIMEOUT)
    assert ioc.get("cam1:NumImagesCounter_RBV") == 20
    assert ioc.get("cam1:DetectorState_RBV", as_string=True) == "Idle"
    assert ioc.get("cam1:Acquire") == ioc.get("cam1:Acquire_RBV") == ioc.get("cam1:AcquireBusy") == 0


def test_continuous_runs_until_a_plain_put_stops_it(ioc):
    ioc.prepare(1, **{"cam1:ImageMode": 2})
    completed = ioc.start()
    wait_for(lambda: ioc.get("cam1:NumImagesCounter_RBV") > 20, message="frames beyond NumImages")
    ioc.pv("cam1:Acquire").put(0)
    assert completed.wait(TIMEOUT)
    assert ioc.get("cam1:DetectorState_RBV", as_string=True) == "Idle"
    assert ioc.image()["uniqueId"] == ioc.counter()


def test_stop_interrupts_a_long_exposure(ioc):
    ioc.prepare(2, **{"cam1:AcquireTime": 3600.0})
    before = ioc.counter()
    completed = ioc.start()
    wait_for(lambda: ioc.get("cam1:DetectorState_RBV", as_string=True) == "Acquire", message="exposure")
    ioc.pv("cam1:Acquire").put(0)
    assert completed.wait(TIMEOUT)
    assert ioc.counter() == before


def test_stop_when_idle_is_harmless(ioc):
    ioc.put("cam1:Acquire", 0)
    ioc.acquire()
    assert ioc.get("cam1:NumImagesCounter_RBV") == 10


def test_second_start_changes_nothing(ioc):
    ioc.prepare(30, period=0.01)
    base = ioc.counter()
    completed = ioc.start()
    ioc.pv("cam1:Acquire").put(1)
    wait_for(lambda: ioc.counter() > base + 3, message="frames")
    ioc.pv("cam1:Acquire").put(1)
    assert completed.wait(TIMEOUT)
    assert ioc.counter() == base + 30


def test_single_takes_one_frame(ioc):
    ioc.prepare(7, **{"cam1:ImageMode": 0})
    base = ioc.counter()
    ioc.acquire()
    assert ioc.counter() == base + 1


@pytest.mark.parametrize(
    "setting",
    [{"Pva1:EnableCallbacks": 0}, {"cam1:ArrayCallbacks": 0}, {"Pva1:NDArrayPort": "ELSEWHERE"}],
)
def test_unpublished_frames_are_counted(ioc, setting):
    ioc.acquire()
    base = ioc.counter()
    ioc.prepare(6, **setting)
    ioc.acquire()
    assert ioc.counter() == base + 6
    assert ioc.image()["uniqueId"] == base


def test_min_callback_time_drops_without_a_trace(ioc):
    ioc.prepare(5, **{"Pva1:MinCallbackTime": 3600})
    published, dropped = ioc.get("Pva1:ArrayCounter_RBV"), ioc.get("Pva1:DroppedArrays_RBV")
    ioc.acquire()
    assert ioc.get("Pva1:ArrayCounter_RBV") == published
    assert ioc.get("Pva1:DroppedArrays_RBV") == dropped


def test_counter_write_acts_at_once(ioc):
    ioc.prepare(1, **{"cam1:ImageMode": 2})
    plugin = ioc.get("Pva1:ArrayCounter_RBV")
    with ioc.monitor(5000) as updates:
        completed = ioc.start()
        wait_for(lambda: len(updates) > 3, message="frames")
        ioc.put("cam1:ArrayCounter", 5000)
        wait_for(lambda: ids(updates)[-1] > 5003, message="frames with new numbers")
        ioc.stop()
        assert completed.wait(TIMEOUT)
        wait_for(lambda: ids(updates)[-1] == ioc.counter(), message="the last frame")
        assert 5001 in ids(updates)
        assert ioc.get("Pva1:ArrayCounter_RBV") == plugin + len(updates)
    ioc.put("cam1:ArrayCounter", 0)
    assert ioc.counter() == 0


def test_counter_wraps_as_32_bits_do(ioc):
    ioc.prepare(2)
    ioc.put("cam1:ArrayCounter", 2**31 - 1)
    with ioc.monitor() as updates:
        ioc.acquire()
        wait_for(lambda: len(updates) == 2, message="frames")
        assert ids(updates) == [-(2**31), -(2**31) + 1]
    ioc.put("cam1:ArrayCounter", 0)


@pytest.mark.parametrize(("name", "value"), [("AcquireTime", float("nan")), ("ImageMode", 9)])
def test_refused_value_leaves_the_setting(ioc, name, value):
    before = ioc.get(f"cam1:{name}_RBV")
    ioc.pv(f"cam1:{name}").put(value, wait=True, timeout=TIMEOUT)
    assert ioc.get(f"cam1:{name}_RBV") == before
    ioc.acquire()
    assert ioc.get("cam1:NumImagesCounter_RBV") == 10


def test_readbacks_cannot_be_written(ioc):
    assert not ioc.pv("cam1:ArrayCounter_RBV").write_access


def test_every_frame_arrives_at_full_rate():
    """500 frames of 256 x 256 at 500 a second, each compared with the sample's."""
    simulation = SimulationConfig()
    with DetectorProcess("fast:", simulation):
        client = Client("fast:")
        client.prepare(500, period=0.002)
        with client.monitor(queue=600) as updates:
            client.acquire()
            wait_for(lambda: len(updates) == 500, message="500 frames")
            assert ids(updates) == list(range(1, 501))
            assert np.array_equal(images(updates), expected_images(simulation, 1, 500))


def test_faults_are_injected():
    fault = Fault(drop={0, 4}, duplicate={2}, stop_after=6)
    with DetectorProcess("faulty:", SIMULATION, fault=fault):
        client = Client("faulty:")
        client.prepare(8)
        with client.monitor() as updates:
            completed = client.start()
            wait_for(lambda: client.counter() == 6, message="the stall")
            wait_for(lambda: len(updates) == 5, message="what is not lost")
            assert ids(updates) == [2, 3, 3, 4, 6]
            assert client.get("Pva1:DroppedArrays_RBV") == 2
            assert not completed.is_set()
            client.stop()
            assert completed.wait(TIMEOUT)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_frames_of_a_file_are_repeated(tmp_path, dtype):
    frames = np.random.default_rng(1).integers(0, 200, (3, 20, 30)).astype(dtype)
    np.save(tmp_path / "frames.npy", frames)
    simulation = SimulationConfig(frames_file=tmp_path / "frames.npy")
    with DetectorProcess(f"replay-{dtype}:", simulation):
        client = Client(f"replay-{dtype}:")
        assert client.get("cam1:DataType_RBV", as_string=True).lower() == dtype
        for _ in range(2):
            client.prepare(5)
            with client.monitor() as updates:
                client.acquire()
                wait_for(lambda updates=updates: len(updates) == 5, message="5 frames")
            assert images(updates).dtype == frames.dtype
            assert np.array_equal(images(updates), frames[[0, 1, 2, 0, 1]])


@pytest.mark.parametrize(("layout", "codec"), [("images", "bslz4"), ("events", "lz4")])
def test_messages_of_many_frames(tmp_path, layout, codec):
    """As our own source reads them; counters count messages, and frames where areaDetector says images."""
    frames = np.random.default_rng(2).poisson(0.1, (20, 12, 10)).astype(np.uint16)
    frames[8:16] = 0  # the second message has no event
    np.save(tmp_path / "frames.npy", frames)
    simulation = SimulationConfig(frames_file=tmp_path / "frames.npy", codec=codec)
    prefix = f"many-{layout}:"
    with DetectorProcess(prefix, simulation, layout=layout, frames_per_message=8):
        client, source, messages = Client(prefix), PvaSource(f"{prefix}Pva1:Image"), []
        client.prepare(20, period=0.001)
        source.start(lambda message: messages.append(kept(message)), queue_size=50)
        client.acquire()
        wait_for(lambda: len(messages) == 3, message="three messages")
        source.stop()
        assert client.image()["codec"]["name"] == codec
        assert [client.counter(), client.get("cam1:NumImagesCounter_RBV")] == [3, 20]
        assert client.get("Pva1:ArrayCounter_RBV") == 3
    assert [(number, len(taken)) for number, taken in messages] == [(1, 8), (2, 8), (3, 4)]
    assert np.array_equal(np.concatenate([taken for _, taken in messages]), frames)


def kept(message):
    """The number and the frames of a message, which lives no longer than the callback."""
    if isinstance(message, Frame):
        return message.unique_id, message.data.copy()
    batch = EventBatch(
        words=message.words, offsets=message.offsets, indices=np.arange(message.count), shape=message.shape
    )
    return message.unique_id, unpack_events(batch).frames


def test_killed_and_restarted_ioc_forgets_and_clients_find_it_again():
    detector = DetectorProcess("mortal:", SIMULATION)
    with detector:
        client = Client("mortal:")
        client.prepare(4)
        client.acquire()
        with client.monitor() as updates:
            os.kill(detector.pid, signal.SIGKILL)
            wait_for(lambda: not client.connected("cam1:Acquire"), message="the disconnection")
            detector.stop()
            detector.start()
            assert client.counter() == 0
            assert client.get("Pva1:EnableCallbacks_RBV") == 0
            wait_for(lambda: updates, message="the monitor to resume")
            assert updates == [(0, None)]
            client.prepare(2)
            client.acquire()
            wait_for(lambda: len(updates) == 3, message="frames on the old monitor")
            assert ids(updates) == [0, 1, 2]
