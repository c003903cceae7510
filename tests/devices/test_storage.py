"""What a device tells of the frames that it stores."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from apsdm_bluesky.devices import RawStorage
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.formats import EventStore
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.sim import SpeckleSample
from apsdm_bluesky.streaming import AcquisitionInfo
from tests.beamline import SIMULATION, open_device
from tests.waiting import wait_for

PERIOD = 0.002


def files_on_disk(root):
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in paths
    }


def test_documents_tell_the_hash_of_every_file(RE, det, documents, tmp_path):
    RE(xpcs_series(det, 1500, acquire_period=PERIOD, acquire_time=PERIOD))
    on_disk = files_on_disk(tmp_path / "raw")
    ledger = {path: rest for path, *rest in json.loads(documents.ledger()["files"])}
    assert ledger == on_disk
    announced = [row for doc in documents.named("stream_datum") for row in doc["files"]]
    assert len(announced) == 2 * 3  # blocks of 1,000 frames, three arrays
    assert {path: list(rest) for path, *rest in announced}.items() <= on_disk.items()


def test_events_where_the_configuration_says_so(RE, sound_detector, documents, tmp_path):
    det = open_device(sound_detector, tmp_path, raw_store="events")
    RE(xpcs_series(det, 50, acquire_period=PERIOD, acquire_time=PERIOD))
    det.destroy()
    kinds = {doc["data_key"]: doc["mimetype"] for doc in documents.named("stream_resource")}
    assert kinds == {
        "det_image": "application/x-zarr;structure=events",
        "det_events": "application/x-zarr;structure=sparse",
        "det_frame_index": "application/x-zarr",
        "det_frame_timestamp": "application/x-zarr",
    }
    uri = documents.named("stream_resource")[0]["uri"]
    frames = EventStore(uri.removeprefix("file://localhost")).frames(range(50))
    sent = np.empty((50, *SIMULATION.shape), np.uint16)
    SpeckleSample(SIMULATION).series(documents.ledger()["first_id"]).fill(sent)
    for frame, true in zip(frames, sent, strict=True):
        np.testing.assert_array_equal(frame, true)


def storage(tmp_path, layout, **info):
    settings = {"expected": 5, "frame_shape": (4, 5), "dtype": "uint16", "period_s": 0.0, **info}
    return RawStorage("det", tmp_path / "a", AcquisitionInfo(**settings), root=tmp_path, layout=layout)


@pytest.mark.parametrize(
    ("layout", "info", "keys"),
    [
        ("auto", {}, {"image"}),
        ("dense", {"events": True}, {"image"}),
        ("auto", {"events": True}, {"image", "events"}),
        ("auto", {"events": True, "dtype": "float64"}, {"image"}),
        (None, {"events": True}, set()),
    ],
)
def test_the_sparse_view_is_declared_where_it_is_certain(tmp_path, layout, info, keys):
    described = storage(tmp_path, layout, **info).describe()
    assert {key.removeprefix("det_") for key in described} == {"frame_index", "frame_timestamp", *keys}


def test_pixels_that_cannot_be_events_are_refused_before_the_run_begins(
    RE, sound_detector, documents, tmp_path
):
    with pytest.raises(StorageError, match="float32 cannot be stored as events"):
        storage(tmp_path, "events", dtype="float32")
    det = open_device(sound_detector, tmp_path, raw_store="events")
    info = AcquisitionInfo(expected=5, frame_shape=(4, 5), dtype="float32", period_s=0.0)
    det._arming = SimpleNamespace(info=lambda: info)  # no simulated camera has it
    with pytest.raises(StorageError, match="float32 cannot be stored as events"):
        RE(xpcs_series(det, 5, acquire_period=PERIOD, acquire_time=PERIOD))
    det.destroy()
    assert documents.all == []


@pytest.mark.parametrize(("on_overflow", "waits_for"), [("block", 30), ("spill", 300), ("drop", 300)])
def test_a_storage_that_is_too_slow(
    RE, sound_detector, documents, tmp_path, monkeypatch, on_overflow, waits_for
):
    """It writes nothing before so many frames have come. The ring holds 34: with `block` more cannot."""
    det = open_device(
        sound_detector,
        tmp_path / "raw",
        ring_mb=0.2,
        on_overflow=on_overflow,
        spill_folder=tmp_path / "spill",
    )
    write = RawStorage.consume

    def late(storage, batch):
        wait_for(lambda: det.received >= waits_for, message=f"{waits_for} frames")
        write(storage, batch)

    monkeypatch.setattr(RawStorage, "consume", late)
    RE(xpcs_series(det, 300, acquire_period=0.002, acquire_time=0.002))
    det.destroy()
    ledger = documents.ledger()
    assert (ledger["accepted"], ledger["missing"]) == (300, 0)
    assert ledger["stored"] + ledger["storage_dropped"] == 300
    if on_overflow == "drop":
        assert 0 < ledger["stored"] < 300
        assert ledger["storage_reason"] == "slower than the detector"
    else:
        assert ledger["stored"] == documents.stop["num_events"]["primary"] == 300
