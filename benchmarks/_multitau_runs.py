"""What the benches of multi-tau have in common."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch
from apsdm_bluesky.reduction import MultiTau, QMap, Workers

from ._bench import Measure, Race, Sample, Target
from ._boost_corr import BoostCorr, Dtype

# Of its g2. It adds the pixels of a static bin up one by one in float32: 1e-4 for 10,000 of them; bfloat16
# keeps 8 bits. (tests/peers compares closer, with smaller bins.)
_TOLERANCES: dict[Dtype, float] = {"float32": 5e-4, "default": 1e-2}


def correlate(qmap: QMap, batches: Iterable[Batch], workers: Workers) -> MultiTau:
    reduction = MultiTau(qmap, workers=workers)
    for batch in batches:
        reduction.push(batch)
    return reduction


def timed(frames: int, run: Callable[[], object]) -> Sample:
    """Frames/s."""
    start = time.perf_counter()
    run()
    return Sample(value=frames / (time.perf_counter() - start))


def timed_boost_corr(
    boost_corr: BoostCorr, raw: Path, qmap: Path, dtype: Dtype, expected: NDArray[np.float64]
) -> Measure:
    """Its frames/s, when its g2 is as expected: a race between different results is none."""

    def sample() -> Sample:
        sample, result = boost_corr.run(raw, qmap, dtype)
        np.testing.assert_allclose(result.g2, expected, rtol=_TOLERANCES[dtype])
        return sample

    return sample


def read_out_race(reduction: MultiTau, batch: Batch) -> Race:
    """Of a reduction that goes on with the counts of this batch between two read-outs."""
    next_index = reduction.result().frames

    def sample() -> Sample:
        nonlocal next_index
        reduction.push(replace(batch, indices=np.arange(next_index, next_index + len(batch))))
        next_index += len(batch)
        start = time.perf_counter()
        reduction.result()
        return Sample(value=100 * (time.perf_counter() - start))

    return Race(
        name="read-out once a second",
        unit="% of the time",
        better="lower",
        ours=sample,
        peers={},
        targets=[Target(limit=10)],
    )


def upper_part(qmap: QMap, n: int) -> QMap:
    """The q-map in the first of n equal parts of the rows."""
    beyond = np.zeros(qmap.shape, bool)
    beyond[qmap.shape[0] // n :] = True
    return qmap.without(beyond)
