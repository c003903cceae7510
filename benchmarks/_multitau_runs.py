"""What the benches of multi-tau have in common."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch
from apsdm_bluesky.reduction import MultiTau, QMap, Workers

from ._bench import Measure, Sample
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


def upper_part(qmap: QMap, n: int) -> QMap:
    """The q-map in the first of n equal parts of the rows."""
    beyond = np.zeros(qmap.shape, bool)
    beyond[qmap.shape[0] // n :] = True
    return qmap.without(beyond)
