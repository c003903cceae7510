"""Raw frames on disk, as images and as events."""

import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import deque
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.formats import EventStore, RawWriter
from apsdm_bluesky.model import EventBatch, FrameBatch
from apsdm_bluesky.reduction import pack_events, unpack_events

SHAPE = (5, 7)


def images(count, shape=SHAPE, dtype="uint16", mean=2.0):
    return np.random.default_rng(0).poisson(mean, (count, *shape)).astype(dtype)


def batches(frames, indices, edges):
    for start, stop in itertools.pairwise([0, *sorted(edges), len(frames)]):
        if start < stop:
            part = slice(start, stop)
            yield FrameBatch(frames=frames[part], indices=indices[part], timestamps=indices[part] / 8)


def writer(path, frames, **options):
    settings = {"expected": len(frames), "layout": "dense", "period_s": 0.05, **options}
    return RawWriter(path, frame_shape=frames.shape[1:], dtype=frames.dtype, **settings)


def write(path, frames, edges=(1, 4, 90), indices=None, **options):
    made = writer(path, frames, **options)
    indices = np.arange(len(frames)) if indices is None else indices
    with closing(made):
        for batch in batches(frames, indices, edges):
            made.append(batch)
    return made


def pixels(path, made):
    """What a reader finds, with the same code for neither layout."""
    if made.layout == "dense":
        return zarr.open_array(path / "image", mode="r")[:]
    store = EventStore(path / "image")
    return np.array([frame.copy() for frame in store.frames(range(store.shape[0]))], store.dtype).reshape(
        store.shape
    )


@pytest.mark.parametrize("layout", ["dense", "events"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
def test_frames_indices_and_times_come_back(tmp_path, layout, dtype):
    indices = np.r_[0:50, 60:150]
    frames = images(140, dtype=dtype)
    info = np.iinfo(dtype)
    frames[3, 1, :2] = info.max, info.min
    made = write(tmp_path / "a.zarr", frames, indices=indices, expected=150, layout=layout)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), frames)
    np.testing.assert_array_equal(group["frame_index"][:], indices)
    np.testing.assert_array_equal(group["timestamp"][:], indices / 8)
    assert made.durable == 140


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint64"])
def test_types_that_events_cannot_hold_are_stored_dense_or_refused(tmp_path, dtype):
    frames = images(9, dtype=dtype, mean=0.001)
    made = write(tmp_path / "a.zarr", frames, layout="auto")
    assert made.layout == "dense"
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), frames)
    with pytest.raises(StorageError, match="raw_store"):
        writer(tmp_path / "b.zarr", frames, layout="events")
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.parametrize(("mean", "layout"), [(0.005, "events"), (0.1, "dense")])
def test_the_first_frames_choose_the_layout(tmp_path, mean, layout):
    frames = images(30, shape=(64, 64), mean=mean)
    frames[20:] = 5000  # what comes later fits all the same
    made = write(tmp_path / "a.zarr", frames, layout="auto")
    assert made.layout == layout
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), frames)


@settings(max_examples=12)
@given(
    edges=st.lists(st.integers(0, 60), max_size=8),
    layout=st.sampled_from(["dense", "events"]),
    packed=st.booleans(),
    block=st.integers(13, 70),
)
def test_any_batches_are_stored_alike(tmp_path_factory, edges, layout, packed, block):
    path = tmp_path_factory.mktemp("any") / "a.zarr"
    frames = images(60, mean=0.3)
    made = writer(path, frames, layout=layout, period_s=2.0 / block)
    with closing(made):
        for batch in batches(frames, np.arange(60), edges):
            made.append(pack_events(batch) if packed else batch)
    np.testing.assert_array_equal(pixels(path, made), frames)


DARK, LIT = [0, 0, 0, 0], [1, 1, 1, 1]


@settings(max_examples=20)
@given(
    blocks=st.lists(st.sampled_from([DARK, LIT, [0, 0, 0, 1], [1, 0, 0, 0]]), min_size=1, max_size=5),
    rest=st.integers(0, 3),
    packed=st.booleans(),
)
@example(blocks=[DARK, LIT, LIT], rest=0, packed=False)
@example(blocks=[LIT, DARK, DARK, LIT], rest=2, packed=True)
@example(blocks=[LIT, DARK], rest=0, packed=True)
def test_blocks_without_an_event_shift_no_other(tmp_path_factory, blocks, rest, packed):
    """Blocks of four frames, of which any may be dark: the first, some between, the last, all."""
    path = tmp_path_factory.mktemp("dark") / "a.zarr"
    lit = np.array(sum(blocks, [1] * rest), "u2")
    frames = (images(len(lit)) + np.uint16(1)) * lit[:, None, None]
    made = writer(path, frames, layout="events", period_s=0.5)
    with closing(made):
        for batch in batches(frames, np.arange(len(frames)), range(3, len(frames), 3)):
            made.append(pack_events(batch) if packed else batch)
    assert made.block == min(4, len(frames))
    np.testing.assert_array_equal(pixels(path, made), frames)


@pytest.mark.parametrize("layout", ["dense", "events"])
@pytest.mark.parametrize("words_a_frame", [4, 100], ids=["a few repeated", "more words than pixels"])
def test_words_that_name_a_pixel_twice_add_up(tmp_path, layout, words_a_frame):
    rng = np.random.default_rng(1)
    words = (rng.integers(0, 35, 6 * words_a_frame, dtype="u8") << np.uint64(16)) | np.uint64(3)
    batch = EventBatch(
        words=words,
        offsets=np.arange(7) * words_a_frame,
        indices=np.arange(6),
        shape=SHAPE,
        timestamps=np.arange(6.0),
    )
    expected = unpack_events(batch).frames
    made = writer(tmp_path / "a.zarr", expected, layout=layout)
    with closing(made):
        made.append(batch)
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), expected)


def repeated(count):
    """One frame: so many words of 4,095 at pixel 8."""
    words = np.full(count, 8 << 16 | 4095, "u8")
    return EventBatch(
        words=words,
        offsets=np.array([0, count]),
        indices=np.zeros(1, "i8"),
        shape=SHAPE,
        timestamps=np.zeros(1),
    )


@pytest.mark.parametrize("layout", ["dense", "events"])
def test_counts_that_the_type_cannot_hold_are_refused(tmp_path, layout):
    frames = images(1)
    with closing(writer(tmp_path / "a.zarr", frames, layout=layout)) as made:
        made.append(repeated(16))
    assert pixels(tmp_path / "a.zarr", made)[0, 1, 1] == 16 * 4095

    def too_many():  # images are refused when they are written, events when they are read
        with closing(writer(tmp_path / "b.zarr", frames, layout=layout)) as made:
            made.append(repeated(20))
        pixels(tmp_path / "b.zarr", made)

    with pytest.raises(FormatError, match="more than uint16 holds"):
        too_many()


def test_coordinates_add_up_or_are_refused(tmp_path):
    for count in (16, 20):
        with closing(writer(tmp_path / f"{count}.zarr", images(1), layout="events")) as made:
            made.append(repeated(count))
    store = EventStore(tmp_path / "16.zarr/image")
    places, values = store.coordinates(list(store.events(range(1))))
    assert (places.T.tolist(), values.tolist()) == ([[0, 1, 1]], [16 * 4095])
    store = EventStore(tmp_path / "20.zarr/image")
    with pytest.raises(FormatError, match="more than uint16 holds"):
        store.coordinates(list(store.events(range(1))))


def test_claimed_rows_cost_no_memory(tmp_path):
    """A billion rows without a file read as dark frames: so many of them are not held at once."""
    write(tmp_path / "a.zarr", images(20), layout="events")
    zarr.open_array(tmp_path / "a.zarr/image/spans").resize((10**9, 2))
    store = EventStore(tmp_path / "a.zarr/image")
    tracemalloc.start()
    try:
        read = store.events(range(10**9))
        assert len(list(itertools.islice(read, 100_000))) == 100_000
        read.close()
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", ["dense", "events", None])
def test_every_file_is_told_with_its_hash(tmp_path, layout):
    made = write(tmp_path / "a.zarr", images(100), expected=120, layout=layout)
    told = {file.path: (file.size, file.sha256) for file in made.files}
    found = {path: path.read_bytes() for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()}
    assert told == {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in found.items()}
    assert len(found) > 8


def test_without_pixels_there_are_only_the_small_arrays(tmp_path):
    write(tmp_path / "a.zarr", images(10), layout=None)
    assert sorted(zarr.open_group(tmp_path / "a.zarr", mode="r").array_keys()) == ["frame_index", "timestamp"]


@pytest.mark.parametrize("layout", ["dense", "events", "auto"])
def test_a_series_of_nothing_is_a_store_of_nothing(tmp_path, layout):
    made = write(tmp_path / "a.zarr", images(0), expected=10, layout=layout)
    assert pixels(tmp_path / "a.zarr", made).shape == (0, *SHAPE)


def test_other_readers_find_shards_as_zarr_writes_them(tmp_path):
    """Byte for byte what zarr's own writer makes of the same chunks, the last shard short."""
    frames = images(50, shape=(300, 700))
    made = write(tmp_path / "a.zarr", frames, period_s=0.1)
    ours = zarr.open_array(tmp_path / "a.zarr/image", mode="r")
    theirs = zarr.create_array(
        tmp_path / "b.zarr",
        shape=ours.shape,
        chunks=ours.chunks,
        shards=ours.shards,
        dtype=ours.dtype,
        compressors=ours.compressors,
        config={"write_empty_chunks": True},
    )
    theirs[:] = frames
    assert (ours.chunks[0], ours.shards[0], made.block) == (1, 20, 20)
    np.testing.assert_array_equal(ours[47], frames[47])
    assert (tmp_path / "a.zarr/image/c.0.0.0").read_bytes() == (tmp_path / "b.zarr/c/0/0/0").read_bytes()


def test_a_path_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="raw frames cannot be written"):
        writer(tmp_path / "file" / "a.zarr", images(10))


@pytest.mark.parametrize("layout", ["dense", "events"])
def test_an_end_that_fails_is_told_and_ends_all_the_same(tmp_path, layout):
    made = writer(tmp_path / "a.zarr", images(10), layout=layout)
    made.append(next(batches(images(10), np.arange(10), [])))
    while (tmp_path / "a.zarr").exists():  # the writer's thread is at it
        shutil.rmtree(tmp_path / "a.zarr", ignore_errors=True)
    before = threading.active_count()
    with pytest.raises(StorageError, match="raw frames cannot be written"):
        made.close()
    assert made.durable == 0
    assert threading.active_count() < before


# A process that writes blocks of 10 frames and tells after each batch what is durable.
CHILD = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.formats import RawWriter
from apsdm_bluesky.model import FrameBatch
path, layout, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
frames = np.load(path.with_name("frames.npy"))
writer = RawWriter(
    path, frame_shape=frames.shape[1:], dtype="u2", expected=len(frames), layout=layout, period_s=0.2
)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    for n in range(0, len(frames), 4):
        part, rows = frames[n : n + 4], np.arange(n, n + 4)
        writer.append(FrameBatch(frames=part, indices=rows, timestamps=rows / 8))
        print(writer.durable, flush=True)
except StorageError as error:
    print(f"told: {error}", flush=True)
    writer.abandon()
    print(writer.durable, flush=True)
"""


def child(tmp_path, frames, layout, limit=0):
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-c", CHILD, tmp_path / "a.zarr", layout, str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def rows_on_disk(path, layout, count):
    if layout == "dense":
        return zarr.open_array(path / "image", mode="r")[:count]
    return np.array([frame.copy() for frame in EventStore(path / "image").frames(range(count))])


@pytest.mark.parametrize("layout", ["dense", "events"])
def test_what_was_durable_survives_a_kill(tmp_path, layout):
    frames = images(4000, shape=(48, 64))
    with child(tmp_path, frames, layout) as process:
        durable = next(int(line) for line in process.stdout if int(line) >= 50)
        process.send_signal(signal.SIGKILL)
        durable = max([durable, *(int(line) for line in process.stdout if line.endswith("\n"))])
    assert 50 <= durable < 4000
    np.testing.assert_array_equal(rows_on_disk(tmp_path / "a.zarr", layout, durable), frames[:durable])


@pytest.mark.parametrize("layout", ["dense", "events"])
def test_a_full_disk_is_told_and_what_was_durable_stays(tmp_path, layout):
    """RLIMIT_FSIZE stands in for a full disk: a write fails in the middle of a file."""
    frames = images(100, shape=(48, 64), mean=0.05)
    frames[40:] = np.random.default_rng(2).integers(0, 65535, (60, 48, 64))  # does not compress
    with child(tmp_path, frames, layout, limit=40_000) as process:
        *_, told, durable = process.stdout.read().splitlines()
    assert "raw frames cannot be written" in told
    assert int(durable) == 40
    np.testing.assert_array_equal(rows_on_disk(tmp_path / "a.zarr", layout, 40), frames[:40])
    assert not list((tmp_path / "a.zarr").rglob("*.part"))


class UnexpectedError(Exception):
    """No `OSError`."""


def failing(monkeypatch, name, error, after):
    """`os.<name>` fails from its n-th call in the thread that publishes blocks on."""
    calls, real = itertools.count(), getattr(os, name)

    def call(*arguments):
        if threading.current_thread().name.startswith("to-disk") and next(calls) >= after:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("layout", ["dense", "events", None])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), UnexpectedError()])
@pytest.mark.parametrize("after", [4, 5, 6, 7, 8, 9])
def test_a_block_that_fails_while_it_is_published_leaves_nothing(tmp_path, monkeypatch, layout, error, after):
    """Wherever in it: what is on the disk is what is told, and the arrays have that length."""
    frames = images(60)
    failing(monkeypatch, "fsync", error, after)
    made = writer(tmp_path / "a.zarr", frames, layout=layout, period_s=0.2)
    with pytest.raises((StorageError, UnexpectedError)), closing(made):
        deque(map(made.append, batches(frames, np.arange(60), range(10, 60, 10))), maxlen=0)
    made.abandon()
    assert made.durable in {0, 10, 20}
    told = {file.path: file.sha256 for file in made.files}
    found = [path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()]
    assert told == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "a.zarr/frame_index", mode="r")[:], np.arange(made.durable)
    )
    if layout:
        np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), frames[: made.durable])


def test_an_abandoned_store_has_its_durable_rows(tmp_path):
    made = writer(tmp_path / "a.zarr", images(60), layout="events", period_s=0.2)
    before = threading.active_count()
    made.append(next(batches(images(35), np.arange(35), [])))
    made.abandon()
    assert made.durable == 30
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr", made), images(60)[:30])
    assert threading.active_count() <= before


def test_new_folders_are_on_the_disk_before_a_row_counts(tmp_path, monkeypatch):
    synced, real = set(), os.fsync

    def fsync(descriptor):
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    made = write(tmp_path / "2026/11/22/a.zarr", images(20), layout="events")
    assert made.durable == 20
    folders = [path.parent for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(folders) == 9
    assert set(folders) <= synced


def damage_metadata(image):
    (image / "zarr.json").write_text("{")


def damage_dtype(image):
    text = (image / "zarr.json").read_text()
    (image / "zarr.json").write_text(text.replace('"uint16"', '"float64"'))


def damage_shape(image):
    text = (image / "zarr.json").read_text()
    (image / "zarr.json").write_text(text.replace("7\n", "9999999999999\n"))


def damage_shard(image):
    shard = image / "events/c.0"
    shard.write_bytes(shard.read_bytes()[:-30])


def damage_spans(image):
    zarr.open_array(image / "spans")[2] = (0, 2**62)


def damage_pixels(image):
    zarr.open_array(image / "events")[3] = 35 << 32 | 1


def remove_array(image):
    (image / "events/zarr.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_metadata,
        damage_dtype,
        damage_shape,
        damage_shard,
        damage_spans,
        damage_pixels,
        remove_array,
    ],
)
def test_a_damaged_event_store_is_a_format_error(tmp_path, damage):
    write(tmp_path / "a.zarr", images(20), layout="events")
    damage(tmp_path / "a.zarr/image")
    with pytest.raises(FormatError, match=r"a\.zarr/image|lies outside"):
        list(EventStore(tmp_path / "a.zarr/image").frames(range(20)))


def test_no_event_store_and_no_such_rows(tmp_path):
    with pytest.raises(FormatError, match="no readable event store"):
        EventStore(tmp_path / "none")
    write(tmp_path / "a.zarr", images(20), layout="events")
    store = EventStore(tmp_path / "a.zarr/image")
    with pytest.raises(FormatError, match="has 20 frames"):
        list(store.frames(range(15, 21)))
    assert list(store.frames(range(0))) == []


@pytest.mark.parametrize("rows", [range(5), range(19, 3, -5), range(7, 20, 3), range(19, -1, -1)])
def test_any_rows_of_an_event_store(tmp_path, rows):
    frames = images(20, mean=0.4)
    write(tmp_path / "a.zarr", frames, layout="events", period_s=0.3)
    read = [frame.copy() for frame in EventStore(tmp_path / "a.zarr/image").frames(rows)]
    np.testing.assert_array_equal(read, frames[list(rows)])
