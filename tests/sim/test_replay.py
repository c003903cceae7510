"""What a simulated camera sends of files and recordings: numbers, gaps and pace as they were."""

import threading
from dataclasses import asdict

import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import RecordedMessage, RecordingWriter
from apsdm_bluesky.sim import Fault
from apsdm_bluesky.sim._camera import Camera, ImageMode
from apsdm_bluesky.sim._frame_source import open_source
from apsdm_bluesky.streaming import AcquisitionInfo
from tests.formats.raw_files import area_detector, imm, photons, rigaku_words

IMAGES = photons(20, 12, 16, mean=1)


class Plugin:
    def __init__(self):
        self.sent = []

    def begin(self, stop):
        pass

    def publish(self, message, unique_id, timestamp):
        self.sent.append((unique_id, message))


def play(path, count, *, layout="images", each=1, speed=0.0, times=1):
    """What a plug-in gets in so many acquisitions."""
    plugin = Plugin()
    simulation = SimulationConfig(frames_file=path)
    camera = Camera(open_source(simulation, layout), plugin, Fault(), frames_per_message=each, speed=speed)
    camera.num_images, camera.image_mode = count, ImageMode.Multiple
    for _ in range(times):
        assert camera.start().wait(20)
    return plugin.sent, camera


def recorded(path, ids, *, expected=20, base_id=None, arrivals=None, each=1):
    info = AcquisitionInfo(
        expected=expected, frame_shape=(12, 16), dtype="uint16", period_s=0.01, frames_per_message=each
    )
    writer = RecordingWriter(path, {"acquisition": asdict(info)})
    for place, number in enumerate(ids):
        head = {
            "uniqueId": number,
            "codec": {"name": "", "parameters": {"pva:variant": [{"value": 6}, {"value": "INT"}]}},
            "dimension": [
                {"size": n, "offset": 0, "fullSize": n, "binning": 1, "reverse": False} for n in (16, 12)
            ],
            "timeStamp": {"secondsPastEpoch": number, "nanoseconds": 7, "userTag": 0},
            "attribute": [],
        }
        arrival = arrivals[place] if arrivals else place
        payload = IMAGES[number % 20].ravel()
        writer.write(RecordedMessage(arrival_ns=arrival, head=head, member="ushortValue", payload=payload))
    writer.close({} if base_id is None else {"ledger": {"base_id": base_id}})
    return path


def test_a_recording_is_sent_as_it_came(tmp_path):
    """A gap, a repeated message and one that is late; the structure has its own times and pixels."""
    ids = [101, 102, 105, 105, 104, 106]
    sent, camera = play(recorded(tmp_path / "f.arrows", ids, base_id=99, expected=7), 7)
    assert [unique_id for unique_id, _ in sent] == ids
    for unique_id, message in sent:
        structure = message.structure
        assert structure["timeStamp"]["secondsPastEpoch"] == unique_id
        np.testing.assert_array_equal(structure["value"][0]["ushortValue"], IMAGES[unique_id % 20].ravel())
    assert camera.array_counter == 106


def test_the_counter_starts_where_it_stood_and_a_second_acquisition_goes_on(tmp_path):
    path = recorded(tmp_path / "f.arrows", [101, 103], base_id=99, expected=4)
    assert Camera(open_source(SimulationConfig(frames_file=path)), Plugin(), Fault()).array_counter == 99
    sent, _ = play(path, 4, times=2)
    assert [unique_id for unique_id, _ in sent] == [101, 103, 105, 107]


def test_a_recording_that_was_cut_off_starts_with_its_first_message(tmp_path):
    sent, _ = play(recorded(tmp_path / "f.arrows", [5, 6, 7]), 20)
    assert [unique_id for unique_id, _ in sent] == [5, 6, 7]


def test_the_pace_is_the_recordings(tmp_path):
    """The third message is due after an hour, at speed 10^6 after milliseconds."""
    path = recorded(tmp_path / "f.arrows", [1, 2, 3], arrivals=[0, 10**6, 3600 * 10**9])
    plugin, two = Plugin(), threading.Event()
    plugin.publish = lambda message, unique_id, timestamp: unique_id == 2 and two.set()
    camera = Camera(open_source(SimulationConfig(frames_file=path)), plugin, Fault())
    camera.num_images, camera.image_mode = 20, ImageMode.Multiple
    ended = camera.start()
    assert two.wait(20)
    assert not ended.is_set()
    assert camera.stop().wait(20)
    assert len(play(path, 20, speed=1e6)[0]) == 3


def test_what_is_no_ntndarray_ends_the_acquisition_as_an_error(tmp_path, caplog):
    path = recorded(tmp_path / "f.arrows", [1])
    writer = RecordingWriter(tmp_path / "bad.arrows", {"acquisition": asdict(INFO)})
    head = {"uniqueId": 1, "dimension": "nonsense"}
    writer.write(RecordedMessage(arrival_ns=0, head=head, member="ushortValue", payload=IMAGES[0].ravel()))
    writer.close({})
    assert len(play(path, 1)[0]) == 1
    assert play(tmp_path / "bad.arrows", 1)[0] == []
    assert "no NTNDArray" in caplog.text


INFO = AcquisitionInfo(expected=1, frame_shape=(12, 16), dtype="uint16", period_s=0.01)


@pytest.mark.parametrize(
    "acquisition",
    [
        None,
        3,
        {},
        {**asdict(INFO), "expected": 0},
        {**asdict(INFO), "dtype": "x"},
        {**asdict(INFO), "more": 1},
        {**asdict(INFO), "frame_shape": [3]},
        {**asdict(INFO), "period_s": "fast"},
        {**asdict(INFO), "expected": "1"},
    ],
)
def test_a_recording_that_does_not_tell_what_was_acquired(tmp_path, acquisition):
    RecordingWriter(tmp_path / "f.arrows", {"acquisition": acquisition}).close({})
    with pytest.raises(FormatError, match="acqui"):
        open_source(SimulationConfig(frames_file=tmp_path / "f.arrows"))


def test_an_empty_recording(tmp_path):
    RecordingWriter(tmp_path / "f.arrows", {"acquisition": asdict(INFO)}).close({})
    with pytest.raises(FormatError, match="nothing can be played"):
        open_source(SimulationConfig(frames_file=tmp_path / "f.arrows"))


@pytest.mark.parametrize(("layout", "each"), [("images", 1), ("images", 3), ("events", 3)])
@pytest.mark.parametrize("kind", ["imm", "h5"])
def test_files_are_sent_in_either_layout(tmp_path, kind, layout, each):
    path = tmp_path / f"f.{kind}"
    if kind == "imm":
        path.write_bytes(imm(IMAGES, sparse=True))
    else:
        area_detector(path, IMAGES)
    sent, camera = play(path, 19, layout=layout, each=each)
    assert [message.frames for _, message in sent] == [each] * (19 // each) + [1] * (19 % each > 0)
    assert [unique_id for unique_id, _ in sent] == list(range(1, len(sent) + 1))
    total = sum(int((message.data & 0xFFF).sum()) for _, message in sent)
    assert total == IMAGES[:19].sum()
    assert camera.num_images_counter == 19


def test_words_keep_the_frame_numbers_of_the_file(tmp_path):
    frames = photons(9, 512, 1024)
    (tmp_path / "f.bin").write_bytes(rigaku_words(frames))
    sent, _ = play(tmp_path / "f.bin", 9, layout="events", each=4)
    assert [message.first_frame for _, message in sent] == [0, 4, 8]
    assert sent[1][1].data[0] >> 40 >= 4


def test_gaps_of_a_file_are_gaps_of_the_stream(tmp_path):
    area_detector(tmp_path / "f.h5", IMAGES[:4], ids=[3, 4, 7, 8])
    sent, _ = play(tmp_path / "f.h5", 6)
    assert [unique_id for unique_id, _ in sent] == [1, 2, 5, 6]
