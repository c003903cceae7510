"""What the plan sets, and leaves behind."""

import threading

import pytest
from bluesky.utils import RunEngineInterrupted
from ophyd import Component as Cpt
from ophyd import EpicsSignal
from ophyd import FormattedComponent as FCpt

from apsdm_bluesky.devices import PvaStream
from apsdm_bluesky.devices._records import CameraRecords
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.plans import xpcs_series
from tests.waiting import wait_for

PERIOD = 0.002


def image_keys(documents):
    (primary,) = [doc for doc in documents.named("descriptor") if doc["name"] == "primary"]
    return "det_image" in primary["data_keys"]


def test_whether_raw_frames_are_stored_is_said_for_one_run(RE, det, documents):
    RE(xpcs_series(det, 5, acquire_period=PERIOD, acquire_time=PERIOD, write_raw=False))
    assert not image_keys(documents)
    documents.all.clear()
    RE(xpcs_series(det, 5))
    assert image_keys(documents)


@pytest.mark.parametrize("ending", ["abort", "halt"])
def test_it_is_forgotten_also_when_the_run_is_given_up(RE, det, ending):
    def pause():
        wait_for(lambda: det.received > 20, message="20 frames")
        RE.request_pause(defer=False)

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        RE(xpcs_series(det, 5000, acquire_period=PERIOD, acquire_time=PERIOD, write_raw=False))
    thread.join(30)
    assert not det.write_raw
    getattr(RE, ending)()
    assert det.write_raw


class Coercing(CameraRecords):
    """A driver that makes what it likes of the period: it shows the exposure."""

    acquire_period = FCpt(
        EpicsSignal,
        "{prefix}AcquireTime_RBV",
        write_pv="{prefix}AcquirePeriod",
        kind="config",
        put_complete=True,
    )


class CoercingStream(PvaStream):
    cam = Cpt(Coercing, "cam1:")


@pytest.fixture
def coercing(sound_detector, tmp_path, monkeypatch):
    monkeypatch.setattr("apsdm_bluesky.plans._series._SETTING_TIMEOUT_S", 0.3)
    device = CoercingStream(sound_detector, name="det", raw_root=tmp_path, stall_timeout_s=1, ring_mb=16)
    device.wait_for_connection(timeout=60)
    yield device
    device.destroy()


def test_a_driver_that_rounds_is_taken(RE, coercing, documents):
    RE(xpcs_series(coercing, 5, acquire_period=0.002009, acquire_time=0.002))
    assert documents.stop["exit_status"] == "success"


@pytest.mark.parametrize("period", [0.001, 0.00205])
def test_a_driver_that_takes_another_value_is_told(RE, coercing, documents, period):
    with pytest.raises(AcquisitionError, match=f"AcquirePeriod: {period} was asked for, it reads 0.002;"):
        RE(xpcs_series(coercing, 5, acquire_period=period, acquire_time=0.002))
    assert documents.all == []  # no run was begun


def test_a_record_that_does_not_answer_is_told(RE, coercing, monkeypatch):
    monkeypatch.setattr(coercing.cam.num_images, "put", lambda *_, **__: None)  # it never completes
    with pytest.raises(AcquisitionError, match=r"NumImages: does not take 5 \(.*is its IOC running"):
        RE(xpcs_series(coercing, 5))
