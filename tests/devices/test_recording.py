"""A device that records what comes, beside what it stores."""

import resource
from pathlib import Path

import numpy as np
import pytest

from apsdm_bluesky.devices._recording import StreamRecording
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.formats import Recording, open_frames
from apsdm_bluesky.model import ConsumerLedger
from apsdm_bluesky.sim import DetectorProcess, Fault
from apsdm_bluesky.sources import PvaSource, ReplaySource
from apsdm_bluesky.streaming import AcquisitionInfo, FrameAudit
from tests.beamline import SIMULATION, open_device
from tests.waiting import wait_for

from .test_pva_stream import series, stored


def replayed(path):
    """The images of a recording by number, as the same decoding gives them."""
    frames = {}
    source = ReplaySource(Recording(path), speed=0)
    source.start(lambda frame: frames.setdefault(frame.unique_id, np.array(frame.data)), queue_size=1)
    wait_for(lambda: not source.playing, message="the end of the replay")
    source.stop()
    return frames


def test_a_recording_holds_what_was_stored(RE, det, documents):
    det.record = True
    RE(series(det, 60))
    ledger = documents.ledger()
    recording = det.recording
    wait_for(lambda: Recording(recording).end(), message="the end of the recording")
    assert recording.parent == next(recording.parents[2].rglob("*.zarr")).parent
    end = Recording(recording).end()
    assert end["ledger"]["base_id"] == ledger["first_id"] - 1
    assert (end["ledger"]["expected"], end["lost"]) == (60, 0)
    frames = replayed(recording)
    expected = stored(documents)["image"][:]
    for index in range(60):
        np.testing.assert_array_equal(frames[ledger["first_id"] + index], expected[index])
    acquisition = Recording(recording).acquisition
    assert (acquisition.expected, acquisition.frame_shape, acquisition.period_s) == (
        60,
        SIMULATION.shape,
        0.002,
    )


def test_each_acquisition_has_a_recording_of_its_own_and_only_when_asked(RE, det):
    det.record = True
    RE(series(det, 5))
    first = det.recording
    RE(series(det, 5))
    assert det.recording != first
    det.record = False
    RE(series(det, 5))
    assert det.recording is None
    assert det._source.record is None


def test_gaps_are_recorded_as_gaps(RE, documents, tmp_path):
    with DetectorProcess("gaps:", SIMULATION, fault=Fault(drop={3, 9}, duplicate={5})):
        det = open_device("gaps:", tmp_path / "raw", record=True)
        RE(series(det, 12))
        path = det.recording
        det.destroy()
    wait_for(lambda: Recording(path).end(), message="the end of the recording")
    ids = [m.head["uniqueId"] for m in Recording(path).messages()]
    assert [i for i in ids if i] == [1, 2, 3, 5, 6, 6, 7, 8, 9, 11, 12]


def test_a_disk_that_is_full_is_told_and_harms_nothing(RE, det, documents, monkeypatch):
    """The recording's folder cannot be written; the frames are stored elsewhere by then."""
    det.record = True
    folders = {".zarr": det._raw_root, ".arrows": Path("/dev/full")}
    monkeypatch.setattr(det, "_new_path", lambda suffix: folders[suffix] / f"x{suffix}")
    RE(series(det, 20))
    assert documents.ledger()["stored"] == 20
    assert "recording" in det.verdict


INFO = AcquisitionInfo(expected=4, frame_shape=(2, 2), dtype="uint16", period_s=0.01)
LEDGER = FrameAudit(expected=4, base_id=0).ledger()
FATE = ConsumerLedger(accepted=0, done=0, dropped=0)


def test_a_recording_that_ends_late_leaves_the_next_one_alone(tmp_path):
    source = PvaSource("nobody:Image")
    late, following = (StreamRecording("det", source, tmp_path / f"{name}.arrows") for name in "ab")
    late.begin(INFO)
    following.begin(INFO)
    recorder = source.record
    late.end(LEDGER, FATE)
    assert source.record is recorder
    following.end(LEDGER, FATE)
    assert source.record is None
    assert (late.fault, following.fault) == ("", "")


def test_an_end_that_cannot_be_written_is_told(tmp_path):
    recording = StreamRecording("det", PvaSource("nobody:Image"), tmp_path / "a.arrows")
    recording.begin(INFO)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (recording.path.stat().st_size, limits[1]))
    try:
        recording.end(LEDGER, FATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recording.fault.startswith(f"the recording {recording.path} cannot be written")


def test_only_pva_can_be_recorded(RE, sound_detector, tmp_path):
    np.save(tmp_path / "f.npy", np.ones((20, 48, 64), np.uint16))
    source = ReplaySource(open_frames(tmp_path / "f.npy"), speed=0)
    det = open_device(sound_detector, tmp_path / "raw", record=True, source=source)
    with pytest.raises(AcquisitionError, match="only what comes over PVA"):
        RE(series(det, 5))
    det.destroy()
