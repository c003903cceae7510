"""Parts and copies of batches, of either kind."""

from collections.abc import Iterable, Iterator

from apsdm_bluesky.model import Batch, EventBatch, FrameBatch


def copied(batch: Batch) -> Batch:
    """A batch that outlives the ring that `batch` is a view of."""
    if isinstance(batch, FrameBatch):
        return FrameBatch(frames=batch.frames.copy(), indices=batch.indices.copy())
    return EventBatch(
        words=batch.words.copy(),
        offsets=batch.offsets.copy(),
        indices=batch.indices.copy(),
        shape=batch.shape,
    )


def first_frames(batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """Exactly the first `count` frames, however they were split."""
    for batch in batches:
        taken = min(count, len(batch))
        count -= taken
        if isinstance(batch, FrameBatch):
            yield FrameBatch(frames=batch.frames[:taken], indices=batch.indices[:taken])
        else:
            yield EventBatch(
                words=batch.words[: batch.offsets[taken]],
                offsets=batch.offsets[: taken + 1],
                indices=batch.indices[:taken],
                shape=batch.shape,
            )
