"""How fast runs are bundled, with all digests of the manifest: beside tar piped through sha256sum."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apsdm_bluesky.archive import Contents, make_bundle
from apsdm_bluesky.callbacks import CatalogWriter
from apsdm_bluesky.spool import RunFile, Spool, SpoolSession

from ._bench import Bench, Race, Sample, Target

BIG, SMALL = (3, 256 * 2**20), (4000, 100_000)
NOTES = [
    "ours: sha256 of each file and of the tar, MD5 of the tar, tar written and synced, manifest",
    "tar | sha256sum: one digest, nothing written; tar | tee FILE | sha256sum: written, not synced",
    "files were read once before: they come from the page cache",
]


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        session = stack.enter_context(_session(home))
        yield Bench(
            races=[
                _race(home, session, "big", *BIG),
                _race(home, session, "small", *SMALL),
            ],
            packages=("numpy",),
            notes=NOTES,
        )


def _race(home: Path, session: SpoolSession, name: str, count: int, size: int) -> Race:
    files = home / "raw" / name
    _fill(files, count, size)
    run = _run(session, name, files)
    total = count * size / 1e6

    def ours() -> Sample:
        begin = time.perf_counter()
        bundle = make_bundle(
            [run],
            folder=home / "bundles",
            destination=f"bench/{name}.tar",
            collection="local",
            contents=Contents(roots=[home / "raw"]),
            progress=lambda _: None,
        )
        taken = time.perf_counter() - begin
        bundle.tar.unlink()
        return Sample(value=total / taken)

    def peer(command: str) -> Sample:
        begin = time.perf_counter()
        subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command} > /dev/null"], check=True, cwd=home / "raw"
        )
        return Sample(value=total / (time.perf_counter() - begin))

    alone, kept = "tar | sha256sum", "tar | tee | sha256sum"
    return Race(
        name=f"{count} files of {size / 1e6:.1f} MB",
        unit="MB/s",
        ours=ours,
        peers={
            alone: lambda: peer(f"tar -cf - {name} | sha256sum"),
            kept: lambda: peer(f"tar -cf - {name} | tee ../peer.tar | sha256sum"),
        },
        targets=[Target(limit=0.8, by="ratio", of=alone)],
    )


def _fill(folder: Path, count: int, size: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06}.bin").write_bytes(os.urandom(size))


@contextmanager
def _session(home: Path) -> Iterator[SpoolSession]:
    session = Spool(home / "spool").open_session()
    try:
        yield session
    finally:
        session.close()


def _run(session: SpoolSession, uid: str, files: Path) -> RunFile:
    """A run in the spool whose documents refer to a folder of files."""
    emit = CatalogWriter(session, None)
    emit("start", {"uid": uid, "time": time.time()})
    emit(
        "stream_resource",
        {
            "uid": f"{uid}-r",
            "run_start": uid,
            "uri": f"file://localhost{files}",
            "mimetype": "multipart/related",
            "parameters": {},
            "data_key": "image",
        },
    )
    emit("stop", {"uid": f"{uid}-s", "run_start": uid, "time": time.time(), "exit_status": "success"})
    return next(run for run in session.runs() if run.uid == uid)
