"""Multi-tau of 256 x 256 frames, beside peers that take as many as these only."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.reduction import MultiTau, QMap
from apsdm_bluesky.sim import SpeckleSample

from . import _scikit_beam
from ._bench import Measure, Race, Sample
from ._detectors import frame_batches

FRAMES = 1024
DELAYS_PER_LEVEL = 4

Floats = NDArray[np.float64]


@contextmanager
def small_frames() -> Iterator[tuple[Race, list[str]]]:
    """The race, one core for each side, and notes."""
    frames, qmap = speckle()
    np.testing.assert_allclose(ours(frames, qmap), plain_numpy(frames, qmap), rtol=1e-9)  # compiles, too
    peers: dict[str, Measure] = {"numpy": timed(plain_numpy, frames, qmap)}
    notes = [
        f"256 x 256: {FRAMES} frames, {len(qmap.pixels)} pixels used; numpy in float64, to the same g2 (1e-9)"
    ]
    with _scikit_beam.peer(frames, qmap.dynamic, buffers=2 * DELAYS_PER_LEVEL) as (scikit_beam, note):
        notes.append(note)
        if scikit_beam is not None:
            peers["scikit-beam"] = scikit_beam
        yield (
            Race(
                name="256 x 256, one core",
                unit="frames/s",
                ours=timed(ours, frames, qmap),
                peers=peers,
                rounds=dict.fromkeys(peers, 2),
            ),
            notes,
        )


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
    for batch in frame_batches(frames, len(frames)):
        reduction.push(batch)
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
