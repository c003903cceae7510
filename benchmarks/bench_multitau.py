"""Multi-tau g2 of dense frames: Lambda 750K, 516 x 1556 pixels, 0.1 counts a pixel, 20 / 100 q bins."""

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.formats import write_qmap
from apsdm_bluesky.reduction import QMap, Workers
from apsdm_bluesky.streaming import Threads

from . import _boost_corr
from ._bench import Bench, Measure, Race, Sample, Target
from ._detectors import BATCH, LAMBDA_750K, frame_batches
from ._growth import Work, growth
from ._multitau_runs import correlate, read_out_race, timed, timed_boost_corr, upper_part
from ._small_frames import small_frames
from ._xpcs_files import write_area_detector

FRAMES = 4096
DIFFERENT = 512  # in memory, read round and round: more than fit a cache
THREADS = 2
PEER_ROUNDS = 2
CHILD_TIMEOUT_S = 300


@contextmanager
def bench() -> Iterator[Bench]:
    frames, qmap = LAMBDA_750K.frames(DIFFERENT), LAMBDA_750K.qmap
    with (
        Threads(THREADS) as workers,
        tempfile.TemporaryDirectory() as folder,
        _boost_corr.peer(THREADS) as (boost_corr, note),
        small_frames() as (small, small_notes),
    ):
        files = Files(Path(folder), frames, qmap)
        reduce = functools.partial(correlate, qmap, workers=workers)
        batches = list(frame_batches(frames, FRAMES))
        whole = reduce(batches)  # compiles, too
        peers: dict[str, Measure] = {}
        if boost_corr is not None:
            expected = reduce(frame_batches(frames, DIFFERENT)).result().g2
            peers["boost-corr"] = timed_boost_corr(boost_corr, files.raw, files.qmap, "float32", expected)
        speed = Race(
            name=f"{FRAMES} frames in memory, to g2 with errors",
            unit="frames/s",
            ours=lambda: timed(FRAMES, lambda: reduce(batches).result()),
            peers=peers,
            rounds={"boost-corr": PEER_ROUNDS},
            targets=[Target(limit=2500), Target(limit=40, by="ratio", of="boost-corr")],
        )
        others = [memory_race(), start_race(files), growth_race(frames, workers), small]
        yield Bench(
            races=[speed, read_out_race(whole, batches[-1]), *others],
            packages=("numpy", "numba"),
            repeats=3,
            notes=[
                f"{len(qmap.pixels)} pixels, {THREADS} threads, batches of {BATCH} of {DIFFERENT} frames",
                f"{note}; float32, the {DIFFERENT} frames as HDF5 without compression, the same g2 (5e-4)",
                "memory: all the process holds but the frames, Python and compiled code included",
                *small_notes,
            ],
        )


class Files:
    """The frames and the q-map for other processes."""

    def __init__(self, folder: Path, frames: NDArray[Any], qmap: QMap) -> None:
        self.raw, self.qmap, self.first = folder / "raw.h5", folder / "qmap.h5", folder / "first.npy"
        write_area_detector(self.raw, frames)
        write_qmap(self.qmap, qmap)
        np.save(self.first, frames[:BATCH])


def memory_race() -> Race:
    return Race(
        name=f"memory for {FRAMES} frames",
        unit="MB beyond the frames",
        better="lower",
        ours=lambda: Sample(value=json.loads(child("_multitau_memory", str(FRAMES), str(THREADS)))),
        peers={},
        targets=[Target(limit=1000, by="every sample")],
    )


def start_race(files: Files) -> Race:
    def sample() -> Sample:
        start = time.perf_counter()
        told = child("_fresh_start", str(files.first), str(files.qmap), str(THREADS))
        return Sample(value=time.perf_counter() - start, extra=json.loads(told))

    return Race(
        name=f"a new process, to g2 of its first {BATCH} frames (compiled code comes from the disk)",
        unit="s",
        better="lower",
        ours=sample,
        peers={},
    )


def child(module: str, *arguments: str) -> str:
    """The last line that a module prints in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=CHILD_TIMEOUT_S, text=True)
    return done.stdout.splitlines()[-1]


def growth_race(frames: NDArray[Any], workers: Workers) -> Race:
    def work(count: int, qmap: QMap) -> Work:
        return Work(
            amount=count * len(qmap.pixels),
            run=lambda: correlate(qmap, frame_batches(frames, count), workers),
        )

    whole = LAMBDA_750K.qmap
    parts = {f"1/{n} of the frames": work(FRAMES // n, whole) for n in (2, 4, 8)}
    parts |= {f"1/{n} of the pixels": work(FRAMES, upper_part(whole, n)) for n in (2, 4)}
    return growth(
        "cost as series and detector grow", "a pixel and frame", whole=work(FRAMES, whole), parts=parts
    )
