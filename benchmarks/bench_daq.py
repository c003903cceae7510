"""How fast files are taken while the agent is killed again and again: beside cp and then sha256sum."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import ACTIVE, Daq, DaqOptions, DaqState, DaqStore, NewDaq, open_daqs

from ._bench import Bench, Race, Sample, Target

# Files, bytes of each, how often the agent is killed.
SMALL, IMAGES, LARGE = (20_000, 20_000, 0), (20_000, 1_000_000, 10), (20, 1_000_000_000, 10)
IN_A_FOLDER = 1000
LEAST = 0.7
PEER = "cp, then sha256sum"
NOTES = [
    "ours: a DAQ of a folder, from its start until it is done: found, settled, copied, hashed, synced, and",
    "put into the spool for the catalogue; no Tiled server runs, nothing is archived. With kill -9 of the",
    "agent each time that as much more was copied: the time to start it again counts",
    f"{PEER}: cp -r, and sha256sum of the copies; nothing is synced",
]


@contextmanager
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("APSDM_BENCH_FOLDER")) as folder:
        yield Bench(
            races=[_race(Path(folder), *what) for what in (SMALL, IMAGES, LARGE)],
            packages=("sqlalchemy",),
            repeats=3,
            notes=NOTES,
        )


def _race(home: Path, count: int, size: int, kills: int) -> Race:
    source = home / f"source-{size}"
    _fill(source, count, size)
    killed = f", agent killed {kills} times" if kills else ""
    return Race(
        name=f"{count:,} files of {size / 1e6:g} MB{killed}",
        unit="MB/s",
        ours=lambda: run(home / "home", source, count * size, kills),
        peers={PEER: lambda: _peer(source, home / "peer", count * size)},
        targets=[Target(limit=LEAST, by="ratio", of=PEER)],
    )


def _fill(folder: Path, count: int, size: int) -> None:
    content = os.urandom(min(size, 1 << 24))
    for number in range(count):
        place = folder / f"{number // IN_A_FOLDER:03}"
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{number:06}.raw").open("wb") as file:
            for start in range(0, size, len(content)):
                file.write(content[: size - start])


def run(home: Path, source: Path, total: int, kills: int) -> Sample:
    """One DAQ from its start to its end."""
    config = BeamlineConfig(home=home)
    root = config.experiments_root / "bench"
    (root / "data").mkdir(parents=True)
    store = open_daqs(config)
    starts = 0.0
    try:
        with agent_process(config):
            pass  # databases are made
        begin = time.perf_counter()
        new = NewDaq(
            experiment="bench",
            station="bench",
            source=source,
            root=root,
            owner="me",
            options=DaqOptions(skip_archive=True),
        )
        daq = store.start(new, actor="me")
        for number in range(1, kills + 1):
            starts += _until(config, store, daq, total * number / (kills + 1))
        _until(config, store, daq, total)
        taken = time.perf_counter() - begin
        _check(store.get(daq.id), total)
        return Sample(value=total / 1e6 / taken, extra={"starting_s": starts})
    finally:
        store.close()
        shutil.rmtree(home)


def _until(config: BeamlineConfig, store: DaqStore, daq: Daq, least: float) -> float:
    """Have an agent work until so many bytes are taken, and kill it; how long it took to start [s]."""
    begin = time.perf_counter()
    with agent_process(config) as process:
        started = time.perf_counter() - begin
        while (now := store.get(daq.id)).state in ACTIVE and now.counts.bytes < least:
            time.sleep(0.1)
        if now.counts.taken == 0 or now.counts.waiting:
            process.kill()
            return started
        store.stop(daq.id, actor="me")
        while store.get(daq.id).state in ACTIVE:
            time.sleep(0.02)
    return started


def _check(daq: Daq, total: int) -> None:
    if daq.state is not DaqState.DONE or daq.counts.bytes != total:
        raise RuntimeError(f"not all was taken: {daq.state} {daq.reason} {daq.counts}")


def _peer(source: Path, copy: Path, total: int) -> Sample:
    sums = f"find {copy} -type f -print0 | xargs -0 sha256sum > /dev/null"
    begin = time.perf_counter()
    subprocess.run(["cp", "-r", source, copy], check=True)
    subprocess.run(["bash", "-c", sums], check=True)
    taken = time.perf_counter() - begin
    shutil.rmtree(copy)
    return Sample(value=total / 1e6 / taken)
