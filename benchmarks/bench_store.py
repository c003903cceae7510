"""Raw frames to Zarr, 516 x 1556 uint16 with 0.1 counts a pixel: frames/s until the array is closed."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from apsdm_bluesky.formats import ZarrFrameWriter, chunk_frames
from apsdm_bluesky.model import FrameBatch

from ._bench import Bench, Measure, Race, Sample

SHAPE = (516, 1556)
DTYPE = np.dtype(np.uint16)
FRAMES = 200
CHUNK = chunk_frames(SHAPE, DTYPE, FRAMES)
BATCH = 4 * CHUNK  # whole chunks: a plain Zarr array has to read back those that it fills in part

Frames = NDArray[np.uint16]


@contextmanager
def bench() -> Iterator[Bench]:
    frames = np.random.default_rng(1).poisson(0.1, (FRAMES, *SHAPE)).astype(DTYPE)
    with tempfile.TemporaryDirectory() as folder:
        sides = {store.__name__: stored(store, frames, Path(folder) / "frames") for store in (ours, plain)}
        for side in sides.values():
            side()
        race = Race(name="store", unit="frames/s", ours=sides["ours"], peers={"plain Zarr": sides["plain"]})
        notes = [
            f"{FRAMES} frames, {CHUNK} a chunk for both; plain Zarr with its default compressor, pixels only",
            "neither waits for the disk; stored = bytes on disk / bytes of pixels",
        ]
        yield Bench(races=[race], packages=("zarr", "numcodecs", "numpy"), notes=notes)


def stored(store: Callable[[Path, Frames], None], frames: Frames, path: Path) -> Measure:
    def sample() -> Sample:
        start = time.perf_counter()
        store(path, frames)
        elapsed_s = time.perf_counter() - start
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        check(path, frames)
        shutil.rmtree(path)
        return Sample(value=len(frames) / elapsed_s, extra={"stored": size / frames.nbytes})

    return sample


def check(path: Path, frames: Frames) -> None:
    """The last frame came back as it was."""
    image = zarr.open_array(path / "image", mode="r")
    np.testing.assert_array_equal(image[len(frames) - 1], frames[-1])


def ours(path: Path, frames: Frames) -> None:
    writer = ZarrFrameWriter(path, frame_shape=SHAPE, dtype=DTYPE, expected=len(frames), image=True)
    for start in range(0, len(frames), BATCH):
        part = frames[start : start + BATCH]
        indices = np.arange(start, start + len(part))
        writer.append(FrameBatch(frames=part, indices=indices, timestamps=indices / 1000))
    writer.close()


def plain(path: Path, frames: Frames) -> None:
    group = zarr.create_group(str(path))
    array = group.create_array("image", shape=frames.shape, chunks=(CHUNK, *SHAPE), dtype=DTYPE)
    for start in range(0, len(frames), BATCH):
        array[start : start + BATCH] = frames[start : start + BATCH]
