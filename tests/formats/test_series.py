"""Readers of raw files: frames equal those written, lazily; damage is told with its place."""

import struct
from contextlib import suppress

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import open_frames
from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import unpack_events

from .raw_files import MODULE_CORNERS, area_detector, imm, imm_header, photons, rigaku_words


def dense(path, size=7):
    """All frames of a file by index, and the batches' lengths."""
    series = open_frames(path)
    found = np.zeros((series.frames, *series.shape), series.dtype)
    lengths = []
    for batch in series.batches(size):
        assert isinstance(batch, EventBatch) == series.events
        assert batch.shape == series.shape
        frames = unpack_events(batch).frames if isinstance(batch, EventBatch) else batch.frames
        found[batch.indices] = frames
        lengths.append(len(batch))
    return found, lengths


def refused(path, *words):
    with pytest.raises(FormatError) as caught:
        for _ in open_frames(path).batches(3):
            pass
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def written(path, content):
    path.write_bytes(content)
    return path


# -- NumPy --


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_numpy(tmp_path, kind):
    frames = photons(20, 5, 7, mean=2)
    (np.save if kind == "npy" else np.savez_compressed)(tmp_path / f"f.{kind}", frames)
    found, lengths = dense(tmp_path / f"f.{kind}")
    assert np.array_equal(found, frames)
    assert lengths == [7, 7, 6]


def test_large_images_come_in_shorter_batches(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((3, 4096, 4096), np.uint32))
    assert dense(tmp_path / "f.npy", size=256)[1] == [1, 1, 1]


# -- Rigaku --


@pytest.mark.parametrize("flag", [0, 1 << 36])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_one_rigaku_module(tmp_path, flag, size):
    frames = photons(11, 512, 1024)
    frames[[0, 4, 5]] = 0
    frames[3, 511, 1023] = 4095
    path = written(tmp_path / "f.bin", rigaku_words(frames, flag=flag))
    found, lengths = dense(path, size)
    assert np.array_equal(found, frames)
    assert sum(lengths) == 11
    assert max(lengths) == min(size, 11)


def test_many_words_and_pieces(tmp_path):
    """More words than are read at once, against a dense count of each frame."""
    rng = np.random.default_rng(3)
    frame = np.sort(rng.integers(0, 3000, 2_500_000)).astype(np.uint64)
    words = frame << np.uint64(40) | rng.integers(0, 1 << 19, frame.size, dtype=np.uint64) << np.uint64(16)
    path = written(tmp_path / "f.bin", (words | np.uint64(1)).astype("<u8").tobytes())
    counts = np.concatenate([np.diff(batch.offsets) for batch in open_frames(path).batches(1000)])
    assert np.array_equal(counts, np.bincount(frame.astype(int), minlength=int(frame[-1]) + 1))


def test_six_rigaku_modules_are_one_image(tmp_path):
    """Frames are matched by number; one module ends early, one saw nothing."""
    expected = np.zeros((6, 1676, 2100), np.uint16)
    for number, (row, column) in MODULE_CORNERS.items():
        frames = photons({0: 6, 3: 2}.get(number, 5), 512, 1024, seed=number)
        frames[-1, 0, 0] = number + 1
        if number == 2:
            frames[:] = 0
        expected[: len(frames), row : row + 512, column : column + 1024] = frames
        written(tmp_path / f"f.bin.{number:03d}", rigaku_words(frames, flag=1 << 36))
    for number in (0, 4):
        found, _ = dense(tmp_path / f"f.bin.{number:03d}", size=4)
        assert np.array_equal(found, expected)


def test_a_missing_module_is_named(tmp_path):
    for number in (0, 1, 2, 4, 5):
        written(tmp_path / f"f.bin.{number:03d}", rigaku_words(photons(2, 512, 1024)))
    refused(tmp_path / "f.bin.000", "f.bin.003")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([5 << 40 | 1 << 16 | 1, 3 << 40 | 1 << 16 | 1, 9 << 40 | 1], "word 1 (byte 8)"),  # out of order
        ([1 << 40 | 1, 60 << 40 | 1, 20 << 40 | 1, 61 << 40 | 1], "out of order"),
        ([1 << 40 | 1, 99 << 40 | 1, 4 << 40 | 1], "frame 99"),  # the last frame is not the last
        ([1 << 40 | 1, 2 << 40 | 512 * 1024 << 16 | 1], "pixel 524288"),
        ([1 << 40 | 1 << 36 | 1, 2 << 40 | 1], "pixel 1048576"),  # the flag is on every word or on none
    ],
)
def test_words_that_are_wrong(tmp_path, words, told):
    path = written(tmp_path / "f.bin", struct.pack(f"<{len(words)}Q", *words))
    refused(path, told)


def test_truncated_and_empty_rigaku(tmp_path):
    refused(written(tmp_path / "f.bin", b""), "is empty")
    refused(written(tmp_path / "f.bin", rigaku_words(photons(2, 512, 1024))[:-3]), "truncated")
    for number in range(6):
        written(tmp_path / f"g.bin.{number:03d}", b"")
    refused(tmp_path / "g.bin.000", "are empty")


def test_the_last_frame_that_a_word_can_number(tmp_path):
    last = (1 << 24) - 1
    series = open_frames(written(tmp_path / "f.bin", struct.pack("<Q", last << 40 | 1)))
    assert series.frames == 1 << 24
    assert sum(len(batch.words) for batch in series.batches(1 << 20)) == 1


def test_a_frame_of_endless_words_is_refused(tmp_path):
    """As in a file of zeros; what is held stays below a few images."""
    with (tmp_path / "f.bin").open("wb") as file:
        file.truncate(100 * 512 * 1024 * 8)
    refused(tmp_path / "f.bin", "more words than pixels")


# -- IMM --


@pytest.mark.parametrize("sparse", [True, False])
def test_imm(tmp_path, sparse):
    frames = photons(10, 31, 40, mean=0.1)
    frames[4] = 0
    frames[2, 3, 4] = 9000  # more than an event word counts
    path = written(tmp_path / "f.imm", imm(frames, sparse=sparse))
    found, lengths = dense(path)
    assert np.array_equal(found, frames)
    assert lengths == [7, 3]
    series = open_frames(path)
    assert series.period_s == pytest.approx(0.01)
    (batch,) = series.batches(10)
    assert batch.timestamps == pytest.approx(1 + 0.01 * np.arange(10))


@pytest.mark.parametrize("sparse", [True, False])
def test_imm_cut_anywhere(tmp_path, sparse):
    frames = photons(3, 31, 40, mean=0.1)
    content = imm(frames, sparse=sparse)
    whole = set(np.cumsum([len(imm(frame[None], sparse=sparse)) for frame in frames]))
    for size in range(0, len(content), 211):
        path = written(tmp_path / "f.imm", content[:size])
        assert size in whole or refused(path) is None


@pytest.mark.parametrize(
    ("header", "body", "told"),
    [
        (imm_header(-5, 40, sparse=True, length=0), b"", "-5 x 40"),
        (imm_header(1 << 30, 1 << 30, sparse=False, length=0), b"", "x 1073741824"),
        (imm_header(2000, 2000, sparse=True, length=0), b"", "at most 2097152"),
        (imm_header(4, 4, sparse=True, length=1 << 31), b"", "2147483648 pixels where the image has 16"),
        (imm_header(4, 4, sparse=False, length=15), bytes(30), "15 pixels where the image has 16"),
        (imm_header(4, 4, sparse=True, length=1), struct.pack("<ih", 16, 1), "outside"),
        (imm_header(4, 4, sparse=True, length=1), struct.pack("<ih", -1, 1), "outside"),
        (imm_header(4, 4, sparse=True, length=1), struct.pack("<ih", 3, -1), "a negative count"),
        (
            imm_header(4, 4, sparse=True, length=0),
            imm_header(4, 5, sparse=True, length=0),
            "unlike the first",
        ),
        (imm_header(4, 4, sparse=True, length=0), imm_header(4, 4, sparse=False, length=16), "unlike"),
    ],
)
def test_imm_that_is_wrong(tmp_path, header, body, told):
    refused(written(tmp_path / "f.imm", header + body), told)


def test_imm_without_times_has_no_pace(tmp_path):
    path = written(tmp_path / "f.imm", imm(photons(3, 8, 8), sparse=True, period=0))
    assert open_frames(path).period_s is None


# -- areaDetector HDF5 --


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 31, 40)},
        {"chunks": (16, 31, 40), "compression": "gzip"},
        {"chunks": (3, 10, 40), **hdf5plugin.Bitshuffle(cname="lz4")},
        {"chunks": (1, 31, 40), **hdf5plugin.Blosc(cname="zstd")},
        {"chunks": (1, 31, 40), **hdf5plugin.LZ4()},
    ],
)
def test_area_detector_hdf5(tmp_path, options):
    frames = photons(20, 31, 40, mean=1)
    found, lengths = dense(area_detector(tmp_path / "f.h5", frames, **options))
    assert np.array_equal(found, frames)
    assert max(lengths) <= 7


def test_numbers_and_times_of_an_area_detector_file(tmp_path):
    """A gap in the ids is a gap in the series; times are since 1970."""
    frames = photons(4, 8, 8, mean=1)
    path = area_detector(
        tmp_path / "f.hdf5", frames, ids=[11, 12, 15, 16], times=[9e8, 9e8 + 1, 9e8 + 4, 9e8 + 5]
    )
    series = open_frames(path)
    (batch,) = series.batches(10)
    assert batch.indices.tolist() == [0, 1, 4, 5]
    assert series.frames == 6
    assert batch.timestamps[0] == 9e8 + 631152000
    assert series.period_s == pytest.approx(1.0)


def test_ids_and_times_that_do_not_grow_are_not_used(tmp_path, caplog):
    path = area_detector(tmp_path / "f.h5", photons(3, 8, 8), ids=[3, 3, 4], times=[5.0, 4.0, 6.0])
    series = open_frames(path)
    assert (series.frames, series.period_s) == (3, None)
    assert "unique ids do not grow" in caplog.text
    assert "time stamps do not grow" in caplog.text


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (np.zeros((3, 4), np.uint16), "shape (3, 4)"),
        (np.zeros((0, 4, 4), np.uint16), "shape (0, 4, 4)"),
        (np.zeros((2, 4, 4), np.float32), "float32"),
        (np.full((2, 4, 4), -1, np.int16), "negative"),
    ],
)
def test_hdf5_that_holds_something_else(tmp_path, frames, told):
    refused(area_detector(tmp_path / "f.h5", frames), told)


def test_hdf5_without_frames_or_with_a_group_there(tmp_path):
    for number, name in enumerate(("other", "entry/data/data/x")):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file[name] = 1
        refused(tmp_path / f"{number}.h5", "no dataset /entry/data/data")


@pytest.mark.parametrize(
    ("shape", "chunks", "told"),
    [
        ((1 << 30, 8, 8), (1, 8, 8), "1073741824 frames"),
        ((1 << 12, 1 << 10, 1 << 10), (1 << 10, 1 << 10, 1 << 10), "GiB"),
    ],
)
def test_hdf5_bombs(tmp_path, shape, chunks, told):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("entry/data/data", shape, "u2", chunks=chunks)
    assert (tmp_path / "f.h5").stat().st_size < 100_000
    refused(tmp_path / "f.h5", told)


def test_truncated_and_damaged_hdf5(tmp_path):
    frames = photons(40, 31, 40, mean=1)
    content = area_detector(tmp_path / "f.h5", frames, chunks=(4, 31, 40), compression="gzip").read_bytes()
    for part in (0.0, 0.1, 0.5, 0.95):
        refused(written(tmp_path / "g.h5", content[: int(part * len(content))]))
    damaged = bytearray(content)
    at = content.rindex(b"x\x9c") if b"x\x9c" in content else content.rindex(b"x^")
    damaged[at : at + 50] = bytes(50)
    refused(written(tmp_path / "h.h5", damaged), "in frames")


# -- any --


@pytest.mark.parametrize("name", ["f.npy", "f.h5", "f.bin", "f.bin.000", "f.imm"])
def test_what_is_no_file(tmp_path, name):
    refused(tmp_path / name, "no such file")
    (tmp_path / name).mkdir()
    refused(tmp_path / name, "is a folder")


def test_mislabelled(tmp_path):
    np.save(tmp_path / "f.npy", photons(3, 31, 40))
    content = (tmp_path / "f.npy").read_bytes()
    for name in ("f.h5", "f.bin", "f.imm", "f.npz"):
        refused(written(tmp_path / name, content + bytes(-len(content) % 8)))
    refused(tmp_path / "f.tif", ".bin.000", ".imm")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_escapes_as_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    suffix = data.draw(st.sampled_from(["bin", "imm", "imm dense"]))
    frames = photons(4, 512, 1024, 1e-5) if suffix == "bin" else photons(4, 8, 8, 0.5)
    content = rigaku_words(frames) if suffix == "bin" else imm(frames, sparse=suffix == "imm")
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = written(folder / f"f.{suffix.split()[0]}", damaged)
    with suppress(FormatError):
        for batch in open_frames(path).batches(1 << 20):
            assert batch.shape
