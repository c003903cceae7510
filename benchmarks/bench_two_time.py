"""Two-time C2 of one dynamic bin out of 20: from frames in memory, beside BLAS products of the same data."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from apsdm_bluesky.model import Batch, EventBatch
from apsdm_bluesky.reduction import QMap, TwoTime, Workers, unpack_events
from apsdm_bluesky.streaming import Threads

from ._bench import Bench, Race, Sample, Target
from ._detectors import LAMBDA_750K, RIGAKU_500K, event_batches, frame_batches

FRAMES = 2048
DIFFERENT = 512  # dense ones in memory, read round and round
BIN = 10
THREADS = 2  # of ours; BLAS takes as many as there are cores
PEER_ROUNDS = 2

Floats = NDArray[np.float32]


@contextmanager
def bench() -> Iterator[Bench]:
    dense = list(frame_batches(LAMBDA_750K.frames(DIFFERENT), FRAMES))
    sparse = list(event_batches(RIGAKU_500K.events(FRAMES)))
    with Threads(THREADS) as workers:
        races = [
            race("Lambda 750K, dense", dense, LAMBDA_750K.qmap, workers),
            race("Rigaku 500K, events", sparse, RIGAKU_500K.qmap, workers),
        ]
        pixels = [int((detector.qmap.dynamic == BIN).sum()) for detector in (LAMBDA_750K, RIGAKU_500K)]
        yield Bench(
            races=races,
            packages=("numpy", "scipy", "numba"),
            repeats=3,
            notes=[
                f"{FRAMES} frames; {pixels[0]} pixels of Lambda, {pixels[1]} of Rigaku; {THREADS} threads",
                "ours: from the frames to C2 and its diagonals' means; to the same C2 (1e-3)",
                "BLAS: the product alone, of ready float32 rows of counts over bin's mean; ssyrk: half of it",
            ],
        )


def race(name: str, batches: Sequence[Batch], qmap: QMap, workers: Workers) -> Race:
    rows = normalised(batches, qmap)

    def sgemm() -> Floats:
        product: Floats = blas.sgemm(1.0, rows.T, rows.T, trans_a=True)
        return product

    compare(two_time(batches, qmap, workers).result().c2[0], sgemm(), rows)  # compiles, too
    return Race(
        name=name,
        unit="10^6 pairs of frames/s",
        ours=lambda: timed_ours(batches, qmap, workers),
        peers={"sgemm": timed(sgemm), "ssyrk": timed(lambda: blas.ssyrk(1.0, rows.T, trans=True))},
        rounds={"sgemm": PEER_ROUNDS, "ssyrk": PEER_ROUNDS},
        targets=[Target(limit=8, by="ratio", of="sgemm")],
    )


def two_time(batches: Sequence[Batch], qmap: QMap, workers: Workers) -> TwoTime:
    reduction = TwoTime(qmap, bins=[BIN], workers=workers)
    for batch in batches:
        reduction.push(batch)
    return reduction


def timed_ours(batches: Sequence[Batch], qmap: QMap, workers: Workers) -> Sample:
    start = time.perf_counter()
    reduction = two_time(batches, qmap, workers)
    pushed = time.perf_counter()
    reduction.result()
    end = time.perf_counter()
    return Sample(value=pairs_per_s(end - start), extra={"push s": pushed - start, "result s": end - pushed})


def timed(run: Callable[[], object]) -> Callable[[], Sample]:
    def sample() -> Sample:
        start = time.perf_counter()
        run()
        return Sample(value=pairs_per_s(time.perf_counter() - start))

    return sample


def pairs_per_s(elapsed_s: float) -> float:
    """In millions."""
    return FRAMES**2 / elapsed_s / 1e6


def normalised(batches: Sequence[Batch], qmap: QMap) -> Floats:
    """Counts of the bin's pixels over their static bin's mean in the frame, shape (n, npix)."""
    pixels = np.flatnonzero(qmap.dynamic == BIN)
    _, static, sizes = np.unique(qmap.static.ravel()[pixels], return_inverse=True, return_counts=True)
    rows = np.empty((FRAMES, len(pixels)), np.float32)
    row = 0
    for batch in batches:
        dense = unpack_events(batch) if isinstance(batch, EventBatch) else batch
        for frame in dense.frames:
            counts = frame.ravel()[pixels]
            rows[row] = counts / (np.bincount(static, counts) / sizes)[static]
            row += 1
    return rows


def compare(c2: NDArray[np.float64], product: Floats, rows: Floats) -> None:
    """A race between different results is none."""
    sums = rows.sum(axis=1, dtype=np.float64)
    expected = product * (rows.shape[1] / np.outer(sums, sums))
    np.testing.assert_allclose(c2, expected, rtol=1e-3)
