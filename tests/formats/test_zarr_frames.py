"""Raw frames on disk."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import zarr

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.formats import ZarrFrameWriter, chunk_frames
from apsdm_bluesky.model import FrameBatch


def batches(indices, shape=(5, 7)):
    indices = np.asarray(indices)
    frames = np.random.default_rng(0).poisson(2, (len(indices), *shape)).astype(np.uint16)
    edges = [0, 1, 4, 90, len(indices)]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges) if a < b]
    return frames, [
        FrameBatch(frames=frames[p], indices=indices[p], timestamps=indices[p] / 8) for p in parts
    ]


def test_frames_indices_and_times_come_back(tmp_path):
    indices = np.r_[0:50, 60:150]
    frames, parts = batches(indices)
    writer = ZarrFrameWriter(
        tmp_path / "a.zarr", frame_shape=(5, 7), dtype="uint16", expected=150, image=True
    )
    for part in parts:
        writer.append(part)
    assert writer.durable == 128  # whole chunks only
    written = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(written["image"][:128], frames[:128])
    writer.close()
    written = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(written["image"][:], frames)
    assert written["image"].dtype == np.uint16
    np.testing.assert_array_equal(written["frame_index"][:], indices)
    np.testing.assert_array_equal(written["timestamp"][:], indices / 8)


def test_dark_frames_are_written_too(tmp_path):
    """So that a lost chunk can be told from a dark one."""
    writer = ZarrFrameWriter(tmp_path / "a.zarr", frame_shape=(5, 7), dtype="uint16", expected=64, image=True)
    writer.append(
        FrameBatch(frames=np.zeros((64, 5, 7), np.uint16), indices=np.arange(64), timestamps=np.zeros(64))
    )
    assert (tmp_path / "a.zarr/image/c/0/0/0").exists()


def test_without_pixels(tmp_path):
    _, parts = batches(range(100))
    writer = ZarrFrameWriter(
        tmp_path / "a.zarr", frame_shape=(5, 7), dtype="uint16", expected=100, image=False
    )
    for part in parts:
        writer.append(part)
    writer.close()
    assert sorted(zarr.open_group(tmp_path / "a.zarr", mode="r").array_keys()) == ["frame_index", "timestamp"]


def test_nothing_came(tmp_path):
    writer = ZarrFrameWriter(tmp_path / "a.zarr", frame_shape=(5, 7), dtype="uint16", expected=10, image=True)
    writer.close()
    assert zarr.open_group(tmp_path / "a.zarr", mode="r")["image"].shape == (0, 5, 7)


@pytest.mark.parametrize(
    ("shape", "expected", "chunk"),
    [((256, 256), 1000, 64), ((516, 1556), 5000, 10), ((8192, 8192), 5, 1), ((8, 8), 3, 3)],
)
def test_chunks_are_about_16_mb(shape, expected, chunk):
    assert chunk_frames(shape, "uint16", expected) == chunk


def test_a_path_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="raw frames cannot be written"):
        ZarrFrameWriter(
            tmp_path / "file" / "a.zarr", frame_shape=(5, 7), dtype="uint16", expected=10, image=True
        )


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.formats import ZarrFrameWriter
from apsdm_bluesky.model import FrameBatch
writer = ZarrFrameWriter(Path(sys.argv[1]), frame_shape=(64, 64), dtype="uint16", expected=640, image=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
noise = np.random.default_rng(0).integers(0, 65535, (64, 64, 64)).astype("u2")
try:
    writer.append(FrameBatch(frames=noise, indices=np.arange(64), timestamps=np.arange(64.0)))
except StorageError as error:
    print(f"told: {error}; durable: {writer.durable}")
"""


def test_a_full_disk_is_told_and_nothing_is_announced(tmp_path):
    """RLIMIT_FSIZE stands in for a full disk: a write fails in the middle."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert "told: raw frames cannot be written" in done.stdout
    assert "durable: 0" in done.stdout
