"""Receive frames over PVAccess and store them: ``python -m benchmarks._store_sides FOLDER``.

In a process of its own, as the sides of the bench `receive`. Prints JSON: rate [frames/s], lost [frames],
stored [bytes on disk / bytes of pixels].
"""

import json
import sys
from pathlib import Path

from apsdm_bluesky.sim import isolate_epics

from ._feed import Feed, through_lane
from ._receive_sides import FRAMES, INFO, RING_BYTES, SHAPE, frames


def main() -> int:
    isolate_epics()  # before pvaccess is loaded
    folder = Path(sys.argv[1])
    with frames() as feed:
        store(feed, folder / "first")  # everything is new
        told = store(feed, folder / "second")
    print(json.dumps(told))
    return 0


def store(feed: Feed, path: Path) -> dict[str, float]:
    """Until the last frame is on the disk."""
    from apsdm_bluesky.devices import RawStorage

    storage = RawStorage("det", path, INFO, root=path.parent, layout="dense")
    taken = through_lane(feed, storage, INFO, ring_bytes=RING_BYTES)
    stored = sum(size for _, size, _ in storage.files)
    return {
        "rate": FRAMES / taken.wall_s,
        "lost": taken.lost,
        "stored": stored / (FRAMES * SHAPE[0] * SHAPE[1] * 2),
    }


if __name__ == "__main__":
    sys.exit(main())
