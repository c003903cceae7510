"""Multi-tau g2 of packed events: Rigaku 500K, 512 x 1024 pixels, 2,500 events a frame, 20 / 100 q bins."""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from apsdm_bluesky.formats import open_frames, write_qmap
from apsdm_bluesky.model import EventBatch
from apsdm_bluesky.reduction import QMap, Workers
from apsdm_bluesky.streaming import Threads

from . import _boost_corr
from ._bench import Bench, Measure, Race, Target
from ._detectors import BATCH, RIGAKU_500K, event_batches, repeated
from ._growth import Work, growth
from ._multitau_runs import correlate, read_out_race, timed, timed_boost_corr, upper_part
from ._xpcs_files import write_rigaku

DIFFERENT = 4096
REPEATED = 8  # 650 MB of events: more than fit a cache
THREADS = 2
PEER_ROUNDS = 1


@contextmanager
def bench() -> Iterator[Bench]:
    few, qmap = RIGAKU_500K.events(DIFFERENT), RIGAKU_500K.qmap
    events = repeated(few, REPEATED)
    with (
        Threads(THREADS) as workers,
        tempfile.TemporaryDirectory() as folder,
        _boost_corr.peer(THREADS) as (boost_corr, note),
    ):
        raw, qmap_file = Path(folder) / "raw.bin", Path(folder) / "qmap.h5"
        write_rigaku(raw, few.words)
        write_qmap(qmap_file, qmap)
        reduce = functools.partial(correlate, qmap, workers=workers)
        begun = reduce(event_batches(few))  # compiles, too
        expected = begun.result().g2
        memory = Race(
            name=f"{len(events)} frames in memory, to g2 with errors",
            unit="frames/s",
            ours=lambda: timed(len(events), lambda: reduce(event_batches(events)).result()),
            peers={},
            targets=[Target(limit=25_000), Target(limit=50_000)],
        )
        peers: dict[str, Measure] = {}
        if boost_corr is not None:
            peers["boost-corr"] = timed_boost_corr(boost_corr, raw, qmap_file, "default", expected)
        file = Race(
            name=f"the same .bin file of {DIFFERENT} frames",
            unit="frames/s",
            ours=lambda: timed(DIFFERENT, lambda: reduce(open_frames(raw).batches(BATCH)).result()),
            peers=peers,
            rounds={"boost-corr": PEER_ROUNDS},
            targets=[Target(limit=200, by="ratio", of="boost-corr")],
        )
        yield Bench(
            races=[
                memory,
                file,
                read_out_race(begun, next(event_batches(few))),
                growth_race(events, workers),
            ],
            packages=("numpy", "numba"),
            repeats=3,
            notes=[
                f"{len(qmap.pixels)} pixels used, {THREADS} threads, batches of {BATCH} frames",
                "50,000 frames/s is what the detector can send",
                f"{note}; its default bfloat16, since float32 does not fit; the same g2 (1e-2)",
                "ours counts from the opening of the .bin file to g2 with errors",
            ],
        )


def growth_race(events: EventBatch, workers: Workers) -> Race:
    def work(some: EventBatch, qmap: QMap) -> Work:
        return Work(amount=len(some.words), run=lambda: correlate(qmap, event_batches(some), workers))

    whole = RIGAKU_500K.qmap
    parts = {f"1/{n} of the frames": work(beginning(events, n), whole) for n in (2, 4, 8)}
    for n in (2, 4):
        parts[f"1/{n} of the pixels"] = work(within(events, n), upper_part(whole, n))
    return growth("cost as series and detector grow", "an event", whole=work(events, whole), parts=parts)


def beginning(events: EventBatch, n: int) -> EventBatch:
    """The first of n equal parts of the frames."""
    return next(event_batches(events, len(events) // n))


def within(events: EventBatch, n: int) -> EventBatch:
    """The events in the first of n equal parts of the rows."""
    pixels = events.shape[0] // n * events.shape[1]
    inside = events.pixels < pixels
    before = np.concatenate([[0], np.cumsum(inside)])
    return replace(events, words=events.words[inside], offsets=before[events.offsets])
