"""Receive frames over PVAccess and store them: ``python -m benchmarks._store_sides FOLDER``.

In a process of its own, as the sides of the bench `receive`. Prints JSON: rate [frames/s], lost [frames],
stored [bytes on disk / bytes of pixels].
"""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Lane, Receiver

from ._receive_sides import CHANNEL, FRAMES, QUEUE, RING_FRAMES, SHAPE, STALL_S, Feed, publisher

if TYPE_CHECKING:
    from apsdm_bluesky.model import CorruptFrame
    from apsdm_bluesky.sources import Message


def main() -> int:
    isolate_epics()  # before pvaccess is loaded
    folder = Path(sys.argv[1])
    with publisher() as feed:
        store(feed, folder / "first")  # everything is new
        wall_s, lost, size = store(feed, folder / "second")
    pixels = FRAMES * SHAPE[0] * SHAPE[1] * 2
    print(json.dumps({"rate": FRAMES / wall_s, "lost": lost, "stored": size / pixels}))
    return 0


def store(feed: Feed, path: Path) -> tuple[float, int, int]:
    """Wall time until the last frame is on the disk [s], frames lost, bytes on disk."""
    from apsdm_bluesky.devices import RawStorage
    from apsdm_bluesky.sources import PvaSource

    info = AcquisitionInfo(expected=FRAMES, frame_shape=SHAPE, dtype="uint16", period_s=0.0)
    storage = RawStorage("det", path, info, root=path.parent, layout="dense")
    lane = Lane(storage, "block")
    ring_bytes = RING_FRAMES * SHAPE[0] * SHAPE[1] * 2
    receiver = Receiver(info, base_id=feed.base_id, pool=BlockPool(ring_bytes, info), lanes=[lane])

    def sink(update: "Message | CorruptFrame") -> None:
        receiver(update)
        if update.unique_id is not None and update.unique_id > feed.base_id:
            feed.handled(update.unique_id)

    source = PvaSource(CHANNEL)
    source.start(sink, queue_size=QUEUE)
    start = time.perf_counter()
    feed.begin()
    feed.end()
    receiver.close()
    lane.join(STALL_S)
    wall_s = time.perf_counter() - start
    source.stop()
    return wall_s, FRAMES - lane.fate.done, sum(size for _, size, _ in storage.files)


if __name__ == "__main__":
    sys.exit(main())
