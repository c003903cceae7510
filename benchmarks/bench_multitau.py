"""Multi-tau g2 of 256 x 256 speckle on one core: frames/s from frames in memory to the result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import MultiTau, QMap
from apsdm_bluesky.sim import SpeckleSample

from . import _scikit_beam
from ._bench import Bench, Measure, Race, Sample

FRAMES = 1024
BATCH = 256  # as the receiver hands them over
DELAYS_PER_LEVEL = 4

Floats = NDArray[np.float64]


@contextmanager
def bench() -> Iterator[Bench]:
    frames, qmap = speckle()
    compare(ours(frames, qmap), plain_numpy(frames, qmap))  # compiles, too
    peers: dict[str, Measure] = {"numpy": timed(plain_numpy, frames, qmap)}
    notes = [f"{FRAMES} frames, {len(qmap.pixels)} pixels used; numpy in float64, to the same g2 (1e-9)"]
    with _scikit_beam.peer(frames, qmap.dynamic, buffers=2 * DELAYS_PER_LEVEL) as (scikit_beam, note):
        notes.append(note)
        if scikit_beam is not None:
            peers["scikit-beam"] = scikit_beam
        race = Race(name="multi-tau", unit="frames/s", ours=timed(ours, frames, qmap), peers=peers)
        yield Bench(races=[race], packages=("numpy", "numba"), notes=notes)


def speckle() -> tuple[NDArray[np.uint16], QMap]:
    """Frames of the simulated sample, shape (n, 256, 256), and rings about their centre."""
    sample = SpeckleSample(SimulationConfig())
    frames = np.empty((FRAMES, *sample.shape), np.uint16)
    sample.series(0).fill(frames)
    return frames, QMap.rings(sample.shape, sample.center, r_max=120, mask=sample.mask)


def timed(
    reduce: Callable[[NDArray[np.uint16], QMap], Floats], frames: NDArray[np.uint16], qmap: QMap
) -> Measure:
    def sample() -> Sample:
        start = time.perf_counter()
        reduce(frames, qmap)
        return Sample(value=len(frames) / (time.perf_counter() - start))

    return sample


def ours(frames: NDArray[np.uint16], qmap: QMap) -> Floats:
    """g2, shape (nt, nq), with its errors."""
    reduction = MultiTau(qmap, delays_per_level=DELAYS_PER_LEVEL)
    for start in range(0, len(frames), BATCH):
        part = frames[start : start + BATCH]
        reduction.push(FrameBatch(frames=part, indices=np.arange(start, start + len(part))))
    return reduction.result().g2


def plain_numpy(frames: NDArray[np.uint16], qmap: QMap) -> Floats:
    """The definition, written down: all frames in memory, no gaps, no errors."""
    static = qmap.static.ravel()[qmap.pixels]
    pixels = np.bincount(static, minlength=len(qmap.static_q) + 1)[1:]
    series = frames.reshape(len(frames), -1)[:, qmap.pixels].astype(np.float64)
    rows, first = [], 1
    while len(series) > 1:
        for lag in range(first, min(2 * DELAYS_PER_LEVEL + 1, len(series))):
            past, future = series[:-lag], series[lag:]
            means = np.einsum("np,np->p", past, future) / len(past), past.mean(axis=0), future.mean(axis=0)
            G2, IP, IF = (np.bincount(static, mean, len(pixels) + 1)[1:] / pixels for mean in means)
            ratio = G2 / (IP * IF)
            rows.append([ratio[qmap.parents == i + 1].mean() for i in range(len(qmap.q))])
        even = len(series) // 2 * 2
        series = (series[0:even:2] + series[1:even:2]) / 2
        first = DELAYS_PER_LEVEL + 1
    return np.array(rows)


def compare(measured: Floats, expected: Floats) -> None:
    """A race between different results is none."""
    np.testing.assert_allclose(measured, expected, rtol=1e-9)
