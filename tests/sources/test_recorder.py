"""What a channel sends, recorded and played again: word by word, whatever happens to disk and process."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pytest

from apsdm_bluesky.errors import ConfigError, FormatError, StorageError
from apsdm_bluesky.formats import RecordedMessage, Recording, RecordingWriter, open_frames
from apsdm_bluesky.model import CorruptFrame, EventFrame
from apsdm_bluesky.sources import PvaSource, Recorder, ReplaySource
from tests.formats.raw_files import photons, rigaku_words
from tests.waiting import wait_for

from .recorded_server import CORRUPT, IMAGES, SKIPPED


class Sink(list):
    """Copies of what comes, as comparable tuples."""

    def __call__(self, update):
        if isinstance(update, CorruptFrame):
            self.append((update.unique_id, update.reason, update.payload.tobytes()))
        elif isinstance(update, EventFrame):
            self.append((update.unique_id, update.words.tobytes(), tuple(update.offsets), update.shape))
        else:
            self.append((update.unique_id, update.timestamp, update.data.dtype.name, update.data.tobytes()))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A recording and what the sink saw meanwhile."""
    path = tmp_path_factory.mktemp("recorded") / "live.arrows"
    command = [sys.executable, "-m", "tests.sources.recorded_server", "recorded:Image"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        source, sink = PvaSource("recorded:Image"), Sink()
        recorder = source.record = Recorder(path, {"channel": "recorded:Image"})
        source.start(sink, queue_size=50)
        server.stdin.write("send\n")
        server.stdin.flush()
        assert server.stdout.readline() == "sent\n"
        wait_for(lambda: sink and sink[-1][0] == len(IMAGES), message="the last image")
        source.stop()
        recorder.close(base_id=0)
        server.stdin.close()
    return path, sink


def played(source, count):
    sink = Sink()
    source.start(sink, queue_size=10)
    wait_for(lambda: len(sink) >= count or source.failure, message=f"{count} messages, not {len(sink)}")
    source.stop()
    return sink


def test_a_replay_brings_what_came_live(live):
    """Numbers, the gap, time stamps, compressed pixels and the message that cannot be decoded."""
    path, seen = live
    assert [message[0] for message in seen] == [i + 1 for i in range(len(IMAGES)) if i != SKIPPED]
    assert len(seen[CORRUPT - 1]) == 3  # corrupt
    source = ReplaySource(Recording(path), speed=0)
    for _ in range(2):
        assert played(source, len(seen)) == seen
    assert source.latest().unique_id == len(IMAGES)


def test_a_recording_is_compressed_as_the_stream_was(live):
    messages = list(Recording(live[0]).messages())
    heads = {message.head["uniqueId"]: message for message in messages if message.head["uniqueId"]}
    assert heads[2].member == "ubyteValue"
    assert heads[2].payload.nbytes < IMAGES[1].nbytes / 2
    assert heads[2].head["codec"]["name"] == "lz4"
    assert heads[2].head["codec"]["parameters"] == {"pva:variant": [{"value": 6}, {"value": "INT"}]}
    assert heads[3].member == "ushortValue"
    assert heads[3].head["timeStamp"] == {"secondsPastEpoch": 1003, "nanoseconds": 500, "userTag": 3}
    times = [message.arrival_ns for message in messages]
    assert times == sorted(times)
    assert Recording(live[0]).end() == {"base_id": 0, "recorded": len(messages), "lost": 0}


def test_anybody_can_read_it_with_arrow(live):
    """The container is an Arrow IPC stream and nothing of ours."""
    table = pa.ipc.open_stream(live[0].read_bytes()).read_all()
    assert table.column_names == ["arrival_ns", "head", "member", "payload"]
    assert json.loads(table["head"][5].as_py())["uniqueId"] >= 5


def message(number, size=100):
    payload = np.full(size, number, np.uint16)
    head = {
        "uniqueId": number,
        "codec": {"name": "", "parameters": []},
        "compressedSize": 0,
        "uncompressedSize": 0,
        "dimension": [{"size": size}, {"size": 1}],
        "attribute": [],
        "timeStamp": {"secondsPastEpoch": 1, "nanoseconds": 0},
    }
    return RecordedMessage(arrival_ns=number * 1_000_000, head=head, member="ushortValue", payload=payload)


def recording(path, count=5):
    writer = RecordingWriter(path, {"channel": "x"})
    for number in range(1, count + 1):
        writer.write(message(number))
    writer.close({})
    return path


def test_a_recording_cut_anywhere_is_whole_up_to_its_last_whole_message(tmp_path, caplog):
    content = recording(tmp_path / "f.arrows").read_bytes()
    counts = []
    for size in range(0, len(content), 19):
        path = tmp_path / "cut.arrows"
        path.write_bytes(content[:size])
        try:
            found = [m.head["uniqueId"] for m in Recording(path).messages()]
        except FormatError:
            assert not counts  # cut in its description
            continue
        assert found == list(range(1, len(found) + 1))
        counts.append(len(found))
    assert sorted(set(counts)) == [0, 1, 2, 3, 4, 5]
    assert counts == sorted(counts)
    assert "cut off or damaged behind message 3" in caplog.text


def test_damage_never_escapes_as_another_error(tmp_path):
    content = recording(tmp_path / "f.arrows").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        path = tmp_path / "damaged.arrows"
        path.write_bytes(damaged)
        with contextlib.suppress(FormatError):
            source = ReplaySource(Recording(path), speed=0)
            source._play(Sink(), source._stop)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (pa.schema([("x", pa.int64())]), "something else"),
        (pa.schema([("x", pa.int64())]).with_metadata({"apsdm.recording": "{}"}), "something else"),
    ],
)
def test_another_arrow_stream_is_refused(tmp_path, schema, told):
    with pa.OSFile(str(tmp_path / "f.arrows"), "wb") as file, pa.ipc.new_stream(file, schema):
        pass
    with pytest.raises(FormatError, match=told):
        Recording(tmp_path / "f.arrows")


@pytest.mark.parametrize("metadata", ["no JSON", "[]", '{"version": 2}'])
def test_a_description_that_is_none_is_refused(tmp_path, metadata):
    schema = pa.ipc.open_stream(recording(tmp_path / "f.arrows").read_bytes()).schema
    schema = schema.with_metadata({"apsdm.recording": metadata})
    with pa.OSFile(str(tmp_path / "g.arrows"), "wb") as file, pa.ipc.new_stream(file, schema):
        pass
    with pytest.raises(FormatError, match=r"g\.arrows"):
        Recording(tmp_path / "g.arrows")


def test_missing_or_empty(tmp_path):
    (tmp_path / "empty.arrows").touch()
    for name in ("missing.arrows", "empty.arrows"):
        with pytest.raises(FormatError, match=name):
            Recording(tmp_path / name)


class Structure:
    """As a PvObject."""

    def __init__(self, number, size=100):
        self._fields = {"uniqueId": number, "value": ({"ushortValue": np.zeros(size, np.uint16)}, {})}

    def toDict(self):  # noqa: N802 - pvapy's name
        return dict(self._fields)


def test_a_full_queue_loses_counts_and_tells(tmp_path, caplog):
    recorder = Recorder(tmp_path / "f.arrows", {}, queue_bytes=100)
    for number in range(5):
        recorder(Structure(number))
    recorder(Structure(9, size=10))
    recorder.close()
    assert (recorder.recorded, recorder.lost) == (1, 5)
    assert "disk is slower" in caplog.text
    assert Recording(tmp_path / "f.arrows").end()["lost"] == 5


def test_an_update_that_cannot_be_read_is_counted(tmp_path):
    recorder = Recorder(tmp_path / "f.arrows", {})
    recorder(object())
    recorder.close()
    recorder.close()
    assert (recorder.recorded, recorder.lost) == (0, 1)
    recorder(Structure(1))
    assert recorder.lost == 2


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Recorder(tmp_path / "file" / "f.arrows", {})


def test_a_full_disk_keeps_what_is_written_and_counts_the_rest(tmp_path, caplog):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder(tmp_path / "f.arrows", {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        for number in range(10):
            recorder(Structure(number, size=5000))
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert recorder.recorded + recorder.lost == 10
    assert 0 < recorder.recorded < 10
    assert "cannot be written" in recorder.reason
    found = [m.head["uniqueId"] for m in Recording(tmp_path / "f.arrows").messages()]
    assert found == list(range(recorder.recorded))


def test_nothing_follows_half_a_message(tmp_path):
    """The disk has room again when the recorder ends."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder(tmp_path / "f.arrows", {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limit[1]))
    try:
        recorder(Structure(1, size=50_000))
        wait_for(lambda: recorder.lost, message="the failed write")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    recorder.close()
    assert list(Recording(tmp_path / "f.arrows").messages()) == []
    assert Recording(tmp_path / "f.arrows").end() is None


def test_a_killed_recorder_leaves_its_whole_messages(tmp_path):
    script = """
        import sys
        from pathlib import Path
        from apsdm_bluesky.formats import RecordingWriter
        from tests.sources.test_recorder import message
        writer = RecordingWriter(Path(sys.argv[1]), {})
        number = 0
        while True:
            number += 1
            writer.write(message(number))
            if number == 20:
                print("written", flush=True)
    """
    path = tmp_path / "f.arrows"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    found = [m.head["uniqueId"] for m in Recording(path).messages()]
    assert len(found) >= 20
    assert found == list(range(1, len(found) + 1))
    assert Recording(path).end() is None


# -- replay --


def test_a_sparse_series_comes_as_messages_of_many_frames(tmp_path):
    frames = photons(10, 512, 1024)
    (tmp_path / "f.bin").write_bytes(rigaku_words(frames))
    series = open_frames(tmp_path / "f.bin")
    sink = played(ReplaySource(series, speed=0, frames_per_message=4), 3)
    assert [entry[0] for entry in sink] == [1, 2, 3]
    assert [len(entry[2]) - 1 for entry in sink] == [4, 4, 2]


def test_the_pace_is_the_recordings(tmp_path):
    """Message 5 is due 4 s after the first: at speed 1 a stop comes first, at speed 1000 it comes."""
    path = tmp_path / "f.arrows"
    writer = RecordingWriter(path, {})
    for number in (1, 2, 5000):
        writer.write(message(number))
    writer.close({})
    assert [m[0] for m in played(ReplaySource(Recording(path), speed=0.5), 2)] == [1, 2]
    assert [m[0] for m in played(ReplaySource(Recording(path), speed=1000), 3)] == [1, 2, 5000]


def test_a_file_that_breaks_off_in_replay_is_told(tmp_path):
    (tmp_path / "f.bin").write_bytes(
        rigaku_words(photons(8, 512, 1024)) + rigaku_words(photons(9, 512, 1024), 8)
    )
    with (tmp_path / "f.bin").open("r+b") as file:
        file.seek(-16, 2)
        file.write(bytes(8))
    source = ReplaySource(open_frames(tmp_path / "f.bin"), speed=0)
    sink = played(source, 100)
    assert "out of order" in str(source.failure)
    assert not source.connected
    assert [entry[0] for entry in sink] == list(range(1, len(sink) + 1))


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none(tmp_path, speed):
    with pytest.raises(ConfigError, match="speed"):
        ReplaySource(Recording(recording(tmp_path / "f.arrows")), speed=speed)


def test_a_series_without_times_needs_a_period(tmp_path):
    np.save(tmp_path / "f.npy", IMAGES)
    with pytest.raises(ConfigError, match="period_s"):
        ReplaySource(open_frames(tmp_path / "f.npy"))
    assert len(played(ReplaySource(open_frames(tmp_path / "f.npy"), period_s=1e-4), 24)) == 24
    assert isinstance(ReplaySource(open_frames(tmp_path / "f.npy"), speed=0), ReplaySource)


def test_frames_of_a_series_have_their_numbers(tmp_path):
    np.save(tmp_path / "f.npy", IMAGES)
    sink = played(ReplaySource(open_frames(tmp_path / "f.npy"), speed=0), 24)
    assert [entry[0] for entry in sink] == list(range(1, 25))
    assert [entry[3] for entry in sink] == [image.tobytes() for image in IMAGES]
