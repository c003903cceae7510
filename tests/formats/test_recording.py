"""Recordings whose description or messages are not what a recorder writes."""

import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import RecordedMessage, Recording, RecordingWriter

SENSIBLE = {
    "expected": 10,
    "frame_shape": [4, 5],
    "dtype": "uint16",
    "period_s": 0.1,
    "frames_per_message": 1,
    "events": False,
}


def recording(path, acquisition=SENSIBLE, head=None):
    writer = RecordingWriter(path, {"acquisition": acquisition})
    writer.write(RecordedMessage(arrival_ns=0, head={} if head is None else head, member="", payload=None))
    writer.close({})
    return Recording(path)


@pytest.mark.parametrize("head", [[], "text", 3])
def test_a_head_that_is_no_object_is_refused(tmp_path, head):
    with pytest.raises(FormatError, match="no JSON object"):
        list(recording(tmp_path / "f.arrows", head=head).messages())


@pytest.mark.parametrize(
    "wrong",
    [
        {"expected": 1e30},
        {"expected": 10**30},
        {"expected": True},
        {"frame_shape": [10**8, 10**8]},
        {"frame_shape": [4.5, 5]},
        {"frames_per_message": 2.0},
        {"dtype": "O"},
        {"dtype": "U9"},
        {"dtype": "u2, u4"},
        {"dtype": None},
        {"period_s": -1},
        {"events": "no"},
    ],
)
def test_an_acquisition_beyond_sense_is_refused(tmp_path, wrong):
    assert recording(tmp_path / "good.arrows").acquisition.frame_shape == (4, 5)
    with pytest.raises(FormatError, match="acqui"):
        _ = recording(tmp_path / "f.arrows", {**SENSIBLE, **wrong}).acquisition
