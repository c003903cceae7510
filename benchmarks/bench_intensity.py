"""Intensities and events on one core: sum image, I(q), I(t) and I(q, t) of frames in memory; sparsifying."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import FRAME_SHIFT, PIXEL_SHIFT, Batch, EventBatch, FrameBatch
from apsdm_bluesky.reduction import Intensities, QMap, sparsify

from ._bench import Bench, Measure, Race, Sample, Target
from ._detectors import LAMBDA_750K, RIGAKU_500K, event_batches, frame_batches, repeated

LAMBDA_FRAMES = 512
RIGAKU_FRAMES = 2048
REPEATED = 16  # of Rigaku's frames: 650 MB of events, more than fit a cache
MESSAGE = 1000  # frames of a Rigaku message

# Sum image (ny, nx), I(q) of the static bins (ns,), I(t) (n,), I(q, t) (n, nq).
Result = Sequence[NDArray[Any]]


@contextmanager
def bench() -> Iterator[Bench]:
    few = RIGAKU_500K.events(RIGAKU_FRAMES)
    some, many = list(event_batches(few, MESSAGE)), list(event_batches(repeated(few, REPEATED), MESSAGE))
    dense = list(frame_batches(LAMBDA_750K.frames(LAMBDA_FRAMES), LAMBDA_FRAMES))
    for batches, qmap in ((some, RIGAKU_500K.qmap), (dense[:1], LAMBDA_750K.qmap)):
        check_same(ours(batches, qmap), plain_numpy(batches, qmap))  # compiles, too
    check_words(sparsify(dense[0]), packed(dense[0]))
    races = [
        Race(
            name="Rigaku 500K: events to sum image, I(q), I(t), I(q, t)",
            unit="frames/s of a core's time",
            ours=timed(many, lambda: ours(many, RIGAKU_500K.qmap)),
            peers={"numpy": timed(some, lambda: plain_numpy(some, RIGAKU_500K.qmap))},
            targets=[Target(limit=100_000)],
        ),
        Race(
            name="Lambda 750K: frames to the same",
            unit="frames/s of a core's time",
            ours=timed(dense, lambda: ours(dense, LAMBDA_750K.qmap)),
            peers={"numpy": timed(dense[:1], lambda: plain_numpy(dense[:1], LAMBDA_750K.qmap))},
        ),
        Race(
            name="Lambda 750K: frames to events",
            unit="frames/s of a core's time",
            ours=timed(dense, lambda: [sparsify(batch) for batch in dense]),
            peers={"numpy": timed(dense[:1], lambda: packed(dense[0]))},
            targets=[Target(limit=8, by="ratio", of="numpy")],
        ),
    ]
    yield Bench(
        races=races,
        packages=("numpy", "numba"),
        repeats=5,
        notes=[
            f"Rigaku: {len(few.words) / len(few):.0f} events a frame, {MESSAGE} frames a batch",
            "numpy: bincount, nonzero; the same results",
        ],
    )


def timed(batches: Sequence[Batch], run: Callable[[], object]) -> Measure:
    def sample() -> Sample:
        start = time.thread_time()
        run()
        return Sample(value=sum(map(len, batches)) / (time.thread_time() - start))

    return sample


def ours(batches: Sequence[Batch], qmap: QMap) -> Result:
    reduction = Intensities(qmap)
    for batch in batches:
        reduction.push(batch)
    saxs, stats = reduction.saxs, reduction.stats
    return saxs.sum_image, saxs.intensity, stats.total, stats.iqt


def plain_numpy(batches: Sequence[Batch], qmap: QMap) -> Result:
    """The same, frame by frame where they are dense, with `bincount`."""
    static, dynamic = qmap.static.ravel(), qmap.dynamic.ravel()
    static_sizes = np.bincount(static, minlength=len(qmap.static_q) + 1)[1:]
    sizes = np.bincount(dynamic, minlength=len(qmap.q) + 1)[1:]
    image = np.zeros(static.size)
    total, iqt = [], []
    for batch in batches:
        image_sum, counts, sums = _sums(batch, dynamic, len(qmap.q) + 1)
        image += image_sum
        total.append(counts)
        iqt.append(sums[:, 1:] / sizes)
    intensity = np.bincount(static, image)[1:] / static_sizes / sum(map(len, batches))
    return image.reshape(qmap.shape), intensity, np.concatenate(total), np.concatenate(iqt)


def _sums(batch: Batch, dynamic: NDArray[np.int32], bins: int) -> Result:
    """Over the frames (ny * nx,), over the pixels (n,), over each bin's pixels (n, bins)."""
    if isinstance(batch, FrameBatch):
        flat = batch.frames.reshape(len(batch), -1)
        sums = np.stack([np.bincount(dynamic, frame, bins) for frame in flat])
        return flat.sum(axis=0, dtype=np.int64), flat.sum(axis=1), sums
    pixels, counts = batch.pixels, batch.counts.astype(np.float64)
    frames = np.repeat(np.arange(len(batch)), np.diff(batch.offsets))
    sums = np.bincount(frames * bins + dynamic[pixels], counts, len(batch) * bins).reshape(-1, bins)
    return np.bincount(pixels, counts, dynamic.size), np.bincount(frames, counts, len(batch)), sums


def packed(batch: FrameBatch) -> NDArray[np.uint64]:
    """The words of a batch's events."""
    words = []
    for number, frame in enumerate(batch.frames):
        counts = frame.ravel()
        pixels = np.flatnonzero(counts)
        head = np.uint64(number << FRAME_SHIFT)
        words.append(head | pixels.astype(np.uint64) << np.uint64(PIXEL_SHIFT) | counts[pixels])
    return np.concatenate(words)


def check_same(measured: Result, expected: Result) -> None:
    """A race between different results is none."""
    for mine, theirs in zip(measured, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def check_words(events: EventBatch | None, words: NDArray[np.uint64]) -> None:
    """As `check_same`."""
    if events is None:
        raise RuntimeError("sparsify finds the frames too bright")
    np.testing.assert_array_equal(events.words, words)
