"""Simulated speckle, 256 x 256: frames/s made on one core."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import SpeckleSample

from ._bench import Bench, Race, Sample, Target

FRAMES = 1000
PEER_FRAMES = 100
BLOCK = 10  # frames made at a time


@contextmanager
def bench() -> Iterator[Bench]:
    sample = SpeckleSample(SimulationConfig())
    out = np.empty((BLOCK, *sample.shape), np.uint16)
    series, plain = sample.series(0), PlainSpeckle(sample)
    series.fill(out)  # compiles
    same_intensity(series.fill, plain.fill, out)

    def ours() -> Sample:
        start = time.perf_counter()
        for _ in range(FRAMES // BLOCK):
            series.fill(out)
        return Sample(value=FRAMES / (time.perf_counter() - start))

    def peer() -> Sample:
        start = time.perf_counter()
        for _ in range(PEER_FRAMES // BLOCK):
            plain.fill(out)
        return Sample(value=PEER_FRAMES / (time.perf_counter() - start))

    race = Race(
        name="speckle", unit="frames/s", ours=ours, peers={"numpy": peer}, targets=[Target(limit=500)]
    )
    notes = [f"{FRAMES} frames of ours, {PEER_FRAMES} of numpy (the same physics, float32 fields)"]
    yield Bench(races=[race], packages=("numpy", "numba"), notes=notes)


class PlainSpeckle:
    """The same physics, written down in numpy: complex AR(1) fields, Poisson counts."""

    def __init__(self, sample: SpeckleSample) -> None:
        self._mean = sample.mean
        self._rho = np.exp(-sample.gamma(sample.radius)).astype(np.float32)
        self._noise = np.sqrt(1 - self._rho**2)
        self._random = np.random.default_rng(1)
        self._x, self._y = self._normal(), self._normal()

    def fill(self, out: NDArray[np.uint16]) -> None:
        for frame in out:
            self._x = self._rho * self._x + self._noise * self._normal()
            self._y = self._rho * self._y + self._noise * self._normal()
            frame[:] = self._random.poisson(self._mean * (self._x**2 + self._y**2) / 2)

    def _normal(self) -> NDArray[np.float32]:
        return self._random.standard_normal(self._mean.shape, dtype=np.float32)


def same_intensity(ours, peer, out: NDArray[np.uint16]) -> None:  # type: ignore[no-untyped-def]
    """A race between different physics is none: the sums of ten frames agree within 5 %."""
    sums = []
    for fill in (ours, peer):
        fill(out)
        sums.append(float(out.sum()))
    np.testing.assert_allclose(sums[0], sums[1], rtol=0.05)
