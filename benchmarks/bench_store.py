"""Raw frames to disk: 516 x 1556 uint16 of 0.1 counts a pixel, 512 x 1024 of 2,500 events; frames/s."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from apsdm_bluesky.formats import RawWriter
from apsdm_bluesky.model import EventBatch, FrameBatch

from ._bench import Bench, Measure, Race, Sample

SHAPE = (516, 1556)
DTYPE = np.dtype(np.uint16)
FRAMES = 240
SHARD = 120
BATCH = 40
EVENT_SHAPE = (512, 1024)
EVENTS = 2500
EVENT_FRAMES = 8192
EVENT_BATCH = 256
PLAIN = "plain Zarr"

Frames = NDArray[np.uint16]
Words = NDArray[np.uint64]


@contextmanager
def bench() -> Iterator[Bench]:
    frames = np.random.default_rng(1).poisson(0.1, (FRAMES, *SHAPE)).astype(DTYPE)
    words = packed_words()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames"
        dense = {
            store: stored(partial(store, path, frames), path, len(frames), frames.nbytes)
            for store in (ours, plain, sharded)
        }
        events = {
            store: stored(partial(store, path, words), path, EVENT_FRAMES, words.nbytes)
            for store in (our_events, plain_events)
        }
        for side in (*dense.values(), *events.values()):
            side()
        races = [
            Race(
                name="receive, store, hash",
                unit="frames/s",
                ours=partial(received, Path(folder)),
                peers={PLAIN: dense[plain]},
            ),
            Race(
                name="store, hash",
                unit="frames/s",
                ours=dense[ours],
                peers={PLAIN: dense[plain], "Zarr, sharded and compressed alike": dense[sharded]},
            ),
            Race(
                name="events: store, hash",
                unit="frames/s",
                ours=events[our_events],
                peers={PLAIN: events[plain_events]},
            ),
        ]
        notes = [
            f"from memory, {FRAMES} frames, one a chunk; plain Zarr: pixels only, its default compressor",
            "receive: over PVAccess from another process, block by block hashed and synced to the disk",
            f"events: {EVENT_FRAMES} frames of {EVENTS} words (20 KB) each; plain Zarr: the words only",
            "peers neither hash nor wait for the disk; stored = bytes on disk / bytes of pixels or words",
        ]
        yield Bench(races=races, packages=("zarr", "numcodecs", "numpy"), notes=notes)


def stored(store: Callable[[], None], path: Path, frames: int, nbytes: int) -> Measure:
    def sample() -> Sample:
        start = time.perf_counter()
        store()
        elapsed_s = time.perf_counter() - start
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path)
        return Sample(value=frames / elapsed_s, extra={"stored": size / nbytes})

    return sample


def received(folder: Path) -> Sample:
    """Frames of another process, received and stored by one of their own."""
    with tempfile.TemporaryDirectory(dir=folder) as target:
        command = [sys.executable, "-m", "benchmarks._store_sides", target]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    figures = json.loads(done.stdout)
    return Sample(value=figures["rate"], extra={"lost": figures["lost"], "stored": figures["stored"]})


def ours(path: Path, frames: Frames) -> None:
    writer = RawWriter(path, frame_shape=SHAPE, dtype=DTYPE, expected=len(frames), layout="dense")
    for start in range(0, len(frames), BATCH):
        part = frames[start : start + BATCH]
        indices = np.arange(start, start + len(part))
        writer.append(FrameBatch(frames=part, indices=indices, timestamps=indices / 1000))
    writer.close()


def plain(path: Path, frames: Frames) -> None:
    array = zarr.create_array(path, shape=frames.shape, chunks=(1, *SHAPE), dtype=DTYPE)
    for start in range(0, len(frames), BATCH):
        array[start : start + BATCH] = frames[start : start + BATCH]


def sharded(path: Path, frames: Frames) -> None:
    array = zarr.create_array(
        path,
        shape=frames.shape,
        chunks=(1, *SHAPE),
        shards=(SHARD, *SHAPE),
        dtype=DTYPE,
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
    )
    for start in range(0, len(frames), SHARD):
        array[start : start + SHARD] = frames[start : start + SHARD]


def our_events(path: Path, words: Words) -> None:
    writer = RawWriter(path, frame_shape=EVENT_SHAPE, dtype=DTYPE, expected=EVENT_FRAMES, layout="events")
    offsets = np.arange(0, (EVENT_BATCH + 1) * EVENTS, EVENTS)
    for start in range(0, EVENT_FRAMES, EVENT_BATCH):
        part = words[start * EVENTS : (start + EVENT_BATCH) * EVENTS]
        indices = np.arange(start, start + EVENT_BATCH)
        writer.append(
            EventBatch(
                words=part, offsets=offsets, indices=indices, shape=EVENT_SHAPE, timestamps=indices / 1e5
            )
        )
    writer.close()


def plain_events(path: Path, words: Words) -> None:
    array = zarr.create_array(path, shape=words.shape, chunks=(2**17,), dtype=words.dtype)
    step = 16 * 2**17
    for start in range(0, len(words), step):
        array[start : start + step] = words[start : start + step]


def packed_words() -> Words:
    """As a Rigaku detector packs them, pixels in order."""
    rng = np.random.default_rng(1)
    pixels = np.sort(
        rng.integers(0, EVENT_SHAPE[0] * EVENT_SHAPE[1], (EVENT_FRAMES, EVENTS), dtype=np.uint64)
    )
    frames = np.arange(EVENT_FRAMES, dtype=np.uint64)[:, None] << np.uint64(40)
    return (frames | pixels << np.uint64(16) | np.uint64(1)).ravel()
