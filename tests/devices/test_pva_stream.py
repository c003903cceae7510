"""The flyer against a simulated IOC in a process of its own, over real PVA and CA."""

import dataclasses
import json
import threading
from pathlib import Path

import epics
import numpy as np
import pytest
import zarr
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from bluesky.utils import FailedStatus, RunEngineInterrupted

from apsdm_bluesky.devices import RawStorage
from apsdm_bluesky.devices._arming import Arming
from apsdm_bluesky.errors import AcquisitionError, StorageError
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.sim import DetectorProcess, Fault, SpeckleSample
from tests.beamline import SIMULATION, open_device
from tests.waiting import wait_for

PERIOD = 0.002


def series(det, frames, period=PERIOD, **options):
    return xpcs_series(det, frames, acquire_period=period, acquire_time=period, **options)


def stored(documents):
    uri = documents.named("stream_resource")[0]["uri"]
    return zarr.open_group(Path(uri.removeprefix("file://localhost")).parent, mode="r")


class MislabelledCamera(Arming):
    """A driver whose DataType says something else than what it sends."""

    def info(self):
        return dataclasses.replace(Arming(self.cam, self.pva).info(), dtype="uint32")


def is_idle(det):
    return det.cam.acquiring.get(use_monitor=False) == 0


def test_every_frame_of_a_series_is_stored_equal_to_the_bit(RE, det, documents):
    RE(series(det, 300))
    assert documents.stop["exit_status"] == "success"
    assert documents.stop["reason"] == "300 of 300 frames"
    ledger = documents.ledger()
    assert (ledger["expected"], ledger["accepted"], ledger["stored"], ledger["missing"]) == (300, 300, 300, 0)
    sent = np.empty((300, *SIMULATION.shape), np.uint16)
    SpeckleSample(SIMULATION).series(ledger["first_id"]).fill(sent)
    group = stored(documents)
    np.testing.assert_array_equal(group["image"][:], sent)
    np.testing.assert_array_equal(group["frame_index"][:], np.arange(300))
    assert np.all(np.diff(group["timestamp"][:]) > 0)
    assert is_idle(det)


def test_stream_data_cover_each_row_once(RE, det, documents):
    RE(series(det, 200))
    for resource in documents.named("stream_resource"):
        data = [doc for doc in documents.named("stream_datum") if doc["stream_resource"] == resource["uid"]]
        rows = [i for doc in data for i in range(doc["indices"]["start"], doc["indices"]["stop"])]
        assert rows == list(range(200))


def test_numbers_go_on_across_runs(RE, det, documents):
    RE(series(det, 20))
    first = documents.ledger()
    documents.all.clear()
    RE(series(det, 20))
    second = documents.ledger()
    assert second["first_id"] == first["last_id"] + 1
    assert second["accepted"] == 20


def test_without_raw_frames_their_indices_and_times_are_kept(RE, det, documents):
    RE(series(det, 50, write_raw=False))
    assert sorted(stored(documents).array_keys()) == ["frame_index", "timestamp"]
    assert documents.ledger()["stored"] == 0
    assert documents.stop["num_events"]["primary"] == 50


@pytest.mark.parametrize(
    ("fault", "gaps"),
    [
        (Fault(drop={0, 1}), [[0, 2]]),
        (Fault(drop={10, 11, 40}), [[10, 2], [40, 1]]),
        (Fault(drop={59}), [[59, 1]]),
    ],
    ids=["head", "middle", "tail"],
)
def test_lost_frames_are_told_and_shift_nothing(RE, documents, tmp_path, caplog, fault, gaps):
    with DetectorProcess("lossy:", SIMULATION, fault=fault):
        det = open_device("lossy:", tmp_path)
        RE(series(det, 60))
        ledger = documents.ledger()
        det.destroy()
    lost = sum(length for _, length in gaps)
    assert json.loads(ledger["gaps"]) == gaps
    assert (ledger["accepted"], ledger["missing"]) == (60 - lost, lost)
    assert documents.stop["exit_status"] == "success"
    assert f"{lost} missing" in documents.stop["reason"]
    assert f"accepted={60 - lost}, corrupt=0, missing={lost}" in caplog.text
    group = stored(documents)
    expected = [i for i in range(60) if not any(first <= i < first + n for first, n in gaps)]
    np.testing.assert_array_equal(group["frame_index"][:], expected)
    sent = np.empty((60, *SIMULATION.shape), np.uint16)
    SpeckleSample(SIMULATION).series(ledger["base_id"] + 1).fill(sent)
    np.testing.assert_array_equal(group["image"][:], sent[expected])


def test_a_loss_fails_the_run_where_it_must_and_what_came_is_kept(RE, documents, tmp_path):
    with DetectorProcess("strict:", SIMULATION, fault=Fault(drop={10, 11})):
        det = open_device("strict:", tmp_path, on_loss="fail")
        with pytest.raises(FailedStatus):
            RE(series(det, 60))
        assert is_idle(det)
        det.destroy()
    assert documents.stop["exit_status"] == "fail"
    assert "58 of 60 frames; 2 missing" in documents.stop["reason"]
    assert "on_loss" in documents.stop["reason"]
    assert documents.ledger()["stored"] == documents.stop["num_events"]["primary"] == 58


def test_a_run_that_somebody_stopped_is_no_loss(RE, sound_detector, documents, tmp_path):
    det = open_device(sound_detector, tmp_path, on_loss="fail")
    thread = interrupt_at(RE, det, 50)
    with pytest.raises(RunEngineInterrupted):
        RE(series(det, 5000))
    thread.join(30)
    RE.stop()
    det.destroy()
    assert documents.stop["exit_status"] == "success"


def test_duplicates_are_counted_and_not_stored(RE, documents, tmp_path):
    with DetectorProcess("twice:", SIMULATION, fault=Fault(duplicate={3, 7})):
        det = open_device("twice:", tmp_path)
        RE(series(det, 20))
        det.destroy()
    ledger = documents.ledger()
    assert (ledger["accepted"], ledger["duplicate"], ledger["updates"]) == (20, 2, 22)


def test_a_detector_that_stalls_ends_the_run_with_what_came(RE, documents, tmp_path):
    with DetectorProcess("stall:", SIMULATION, fault=Fault(stop_after=30)):
        det = open_device("stall:", tmp_path)
        RE(series(det, 100))
        assert is_idle(det)
        det.destroy()
    assert documents.stop["exit_status"] == "success"
    assert "30 of 100 frames; 70 missing" in documents.stop["reason"]
    assert "no frame for" in documents.stop["reason"]


def test_a_detector_that_sends_nothing_fails_the_run(RE, documents, tmp_path):
    with DetectorProcess("mute:", SIMULATION, fault=Fault(stop_after=0)):
        det = open_device("mute:", tmp_path)
        with pytest.raises(FailedStatus):
            RE(series(det, 10))
        assert is_idle(det)
        det.destroy()
    assert documents.stop["exit_status"] == "fail"
    assert "no frame came at all" in documents.stop["reason"]


def test_a_camera_whose_frames_go_nowhere_fails_the_run(RE, sound_detector, documents, tmp_path):
    """The plug-in listens to another port: the camera ends as if all were well."""
    epics.caput(f"{sound_detector}Pva1:NDArrayPort", "elsewhere", wait=True)
    det = open_device(sound_detector, tmp_path)
    try:
        with pytest.raises(FailedStatus):
            RE(series(det, 20))
    finally:
        epics.caput(f"{sound_detector}Pva1:NDArrayPort", "SIM1", wait=True)
        det.destroy()
    assert documents.stop["exit_status"] == "fail"
    assert "no frame came at all" in documents.stop["reason"]


def test_a_detector_that_somebody_else_uses_is_refused_and_left_alone(
    RE, sound_detector, documents, tmp_path
):
    for record, value in {"ImageMode": 2, "AcquirePeriod": 0.01, "Acquire": 1}.items():
        epics.caput(f"{sound_detector}cam1:{record}", value)
    det = open_device(sound_detector, tmp_path)
    wait_for(lambda: not is_idle(det), message="somebody's acquisition")
    with pytest.raises(FailedStatus):
        RE(series(det, 20, period=None))
    assert not is_idle(det)
    assert "is acquiring already" in documents.stop["reason"]
    det.cam.acquire.put(0, wait=False, use_complete=False)
    wait_for(lambda: is_idle(det), message="an idle detector")
    det.destroy()


def test_an_interruption_while_frames_are_stored_loses_none(
    RE, sound_detector, documents, tmp_path, monkeypatch
):
    """All have come, the disk is behind: the account waits for it."""
    det = open_device(sound_detector, tmp_path)
    go = threading.Event()
    write = RawStorage.consume
    monkeypatch.setattr(RawStorage, "consume", lambda *args: (go.wait(30), write(*args)))

    def pause():
        wait_for(lambda: det.frame_ledger is not None, message="the last frame")
        RE.request_pause(defer=False)
        go.set()

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        RE(series(det, 100))
    thread.join(30)
    RE.stop()
    det.destroy()
    assert documents.ledger()["stored"] == documents.stop["num_events"]["primary"] == 100


def test_what_a_full_disk_did_not_take_counts_as_dropped(
    RE, sound_detector, documents, tmp_path, monkeypatch
):
    det = open_device(sound_detector, tmp_path, raw_store="dense")
    write, batches = RawStorage.consume, []

    def failing(storage, batch):
        batches.append(len(batch))
        if sum(batches) > 200:
            raise StorageError("no space left")
        write(storage, batch)

    monkeypatch.setattr(RawStorage, "consume", failing)
    with pytest.raises(FailedStatus):
        RE(series(det, 400))
    det.destroy()
    ledger = documents.ledger()
    assert ledger["stored"] == documents.stop["num_events"].get("primary", 0)
    assert ledger["stored"] + ledger["storage_dropped"] == ledger["accepted"]


def test_an_ioc_that_dies_in_mid_run_is_told(RE, documents, tmp_path):
    process = DetectorProcess("dying:", SIMULATION)
    process.start()
    det = open_device("dying:", tmp_path)
    killer = threading.Thread(
        target=lambda: (wait_for(lambda: det.received > 50, message="50 frames"), process.stop())
    )
    killer.start()
    RE(series(det, 5000))
    killer.join(30)
    ledger = documents.ledger()
    det.destroy()
    assert 50 < ledger["accepted"] < 5000
    assert ledger["accepted"] + ledger["missing"] == 5000
    assert "IOC disconnected" in documents.stop["reason"]


def test_a_restarted_ioc_is_used_again(RE, documents, tmp_path):
    """All its settings are those of a fresh IOC: plug-in off, continuous mode, counters at 0."""
    process = DetectorProcess("again:", SIMULATION)
    process.start()
    det = open_device("again:", tmp_path)
    for frames, restart in ((30, True), (31, True), (32, False)):
        RE(series(det, frames))
        assert documents.ledger()["accepted"] == frames
        documents.all.clear()
        if restart:
            process.stop()
            wait_for(lambda: not det.cam.acquiring.connected, message="a disconnection")
            process.start()
            wait_for(lambda: det.connected, timeout=60, message="the restarted IOC")
    det.destroy()
    process.stop()


def interrupt_at(RE, det, frames):
    """Pause at once, as Ctrl-C twice does, when so many frames have come."""

    def pause():
        wait_for(lambda: det.received > frames, message=f"{frames} frames")
        RE.request_pause(defer=False)

    thread = threading.Thread(target=pause)
    thread.start()
    return thread


@pytest.mark.parametrize("ending", ["abort", "stop", "resume", "halt"])
def test_a_paused_run_leaves_the_detector_idle_and_can_be_closed(RE, det, documents, ending):
    thread = interrupt_at(RE, det, 50)
    with pytest.raises(RunEngineInterrupted):
        RE(series(det, 5000))
    thread.join(30)
    assert is_idle(det)
    getattr(RE, ending)()
    assert RE.state == "idle"
    expected = {"abort": "abort", "halt": "abort"}.get(ending, "success")
    assert documents.stop["exit_status"] == expected
    if ending != "halt":  # a halt runs no clean-up of the plan
        ledger = documents.ledger()
        assert 50 < ledger["accepted"] < 5000
        assert ledger["stored"] == ledger["accepted"]
        assert documents.stop["num_events"]["primary"] == ledger["accepted"]


def test_an_exception_in_the_plan_leaves_the_detector_idle_and_the_run_closed(RE, det, documents):
    @bpp.stage_decorator([det])
    @bpp.run_decorator()
    def broken():
        yield from bps.abs_set(det.cam.num_images, 5000, wait=True)
        yield from bps.declare_stream(det, name="primary", collect=True)
        yield from bps.kickoff(det, wait=True)
        wait_for(lambda: det.received > 20, message="20 frames")
        raise ValueError("the plan is wrong")

    with pytest.raises(ValueError, match="the plan is wrong"):
        RE(broken())
    assert documents.stop["exit_status"] == "fail"
    wait_for(lambda: is_idle(det), message="an idle detector")
    documents.all.clear()
    RE(series(det, 20))  # and it works again
    assert documents.ledger()["accepted"] == 20


def test_a_step_scan_reads_counts_at_each_point(RE, det, documents):
    RE(bps.mv(det.cam.num_images, 4, det.cam.acquire_time, PERIOD, det.cam.acquire_period, PERIOD))
    RE(bp.count([det], 3))
    events = documents.named("event")
    assert [event["data"]["det_frames"] for event in events] == [4, 4, 4]
    assert [event["data"]["det_missing"] for event in events] == [0, 0, 0]
    assert all(event["data"]["det_total"] > 0 for event in events)
    assert documents.stop["exit_status"] == "success"


def test_frames_that_cannot_be_stored_fail_the_run_before_it_begins(RE, sound_detector, documents, tmp_path):
    (tmp_path / "raw").write_text("in the way")
    det = open_device(sound_detector, tmp_path / "raw")
    with pytest.raises(FailedStatus):
        RE(series(det, 20))
    assert is_idle(det)
    det.destroy()
    assert documents.stop["exit_status"] == "fail"
    assert "raw frames cannot be written" in documents.stop["reason"]


def test_no_frames_are_refused(RE, det):
    with pytest.raises(ValueError, match="at least one frame"):
        RE(xpcs_series(det, 0))


def test_complete_before_kickoff_is_told(det):
    det.stage()
    with pytest.raises(AcquisitionError, match="without kickoff"):
        det.complete()
    det.unstage()


def test_messages_that_cannot_be_decoded_are_counted_and_kept_aside(RE, sound_detector, documents, tmp_path):
    """The camera announces 32-bit pixels and sends 16-bit ones: none is what was announced."""
    det = open_device(sound_detector, tmp_path)
    announced = det._arming.info()
    det._arming = MislabelledCamera(det.cam, det.pva)
    RE(series(det, 20))
    det.destroy()
    ledger = documents.ledger()
    assert (ledger["accepted"], ledger["corrupt"], ledger["missing"]) == (0, 20, 0)
    assert "20 corrupt" in documents.stop["reason"]
    assert ledger["files"] == "[]"  # nothing tells of the empty arrays: they are none of the archive's
    (folder,) = tmp_path.glob("*/*/*/*.corrupt")
    lines = [json.loads(line) for line in (folder / "messages.jsonl").read_text().splitlines()]
    assert [line["unique_id"] for line in lines] == list(range(ledger["base_id"] + 1, ledger["base_id"] + 21))
    assert "announced was" in lines[0]["reason"]
    image = np.frombuffer((folder / lines[0]["payload"]).read_bytes(), announced.dtype)
    assert image.size == np.prod(announced.frame_shape)
