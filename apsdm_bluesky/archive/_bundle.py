"""Bundles: a run, its analyses and their files in one tar, and a manifest beside it."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest
from apsdm_bluesky.spool import RunFile

from ._births import Births, frame_ledger
from ._grouping import parts_of
from ._manifest import SCHEMA, TOOL, encode_manifest, software_versions
from ._manifest_check import document_name
from ._sources import SourceError, SourceFile, raw_files
from ._tar import SourceChangedError, TarWriter

MANIFEST_SUFFIX = ".manifest.json"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on the local disk."""

    tar: Path
    manifest_file: Path
    manifest: Manifest
    manifest_size: int
    manifest_sha256: str


def manifest_path(tar: str) -> str:
    """The path of the manifest that lies beside the tar of the path `tar`."""
    return tar.removesuffix(".tar") + MANIFEST_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Which files of runs a bundle takes: all, or one of the parts that a big run is divided into.

    Parameters
    ----------
    roots
        Raw files are taken from these folders only.
    target
        Bytes that a part is to have. The documents are in the first one.
    """

    roots: Sequence[Path]
    target: int = 0
    part: int = 1
    parts: int = 1

    def select(self, runs: Sequence[RunFile]) -> tuple[list[SourceFile], list[SourceFile]]:
        """All raw files of the runs, and those of this part.

        Raises
        ------
        SourceError
            The files are not what the documents say, or make another number of parts than was planned.
        """
        sources = raw_files(runs, self.roots)
        divided = parts_of(sources, self.target) if self.parts > 1 else [sources]
        if len(divided) != self.parts:
            raise SourceError(
                f"run {runs[0].uid}: its files fill {len(divided)} bundles now, not {self.parts} as planned; "
                "put them back as they were, and archive.bundle_gb as it was, then resume"
            )
        return sources, divided[self.part - 1]


def make_bundle(
    runs: Sequence[RunFile],
    *,
    folder: Path,
    destination: str,
    collection: str,
    contents: "Contents",
    progress: Callable[[int], None],
) -> Bundle:
    """Bundle runs into `folder`. A bundle of that name from before is replaced.

    The tar and the manifest are the same byte for byte as long as the sources are. Files are only read.

    Parameters
    ----------
    destination
        The tar's path at the destination; its last part is the name here.
    contents
        Which of their files.
    progress
        Gets the number of bytes taken, chunk by chunk; what it raises ends the bundling.

    Raises
    ------
    SourceError
        The files are not what the documents say, or not what they were when they were written.
    StorageError
        No space, no permission, or sources that do not come to rest. Nothing is left behind.
    """
    tar = folder / destination.rsplit("/", 1)[-1]
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(SourceChangedError), _storage_errors(folder):
            make_folder(folder)
            writer, members = _write_tar(tar, runs, contents, progress)
            manifest = _describe(runs, members, writer, contents, destination, collection)
            return write_manifest(tar, manifest)
    raise StorageError(
        f"{tar.name}: its files are changed all the time; stop what writes them under {contents.roots[0]}"
    )


def _write_tar(
    tar: Path, runs: Sequence[RunFile], contents: "Contents", progress: Callable[[int], None]
) -> tuple[TarWriter, list[BundleMember]]:
    births = Births(runs)
    raw, mine = contents.select(runs)
    births.check_complete(raw)
    documents = _document_files(runs) if contents.part == 1 else ()
    sources = sorted([*documents, *mine], key=lambda file: file.name.encode())
    with _part_of(tar) as part, TarWriter(part, progress) as writer:
        members = [births.checked(writer.add(source)) for source in sources]
        if contents.select(runs) != (raw, mine):
            raise SourceChangedError(f"{tar.name}: files were changed while they were bundled")
        writer.finish()
    return writer, members


def _document_files(runs: Sequence[RunFile]) -> Iterator[SourceFile]:
    """The runs' documents as they stand in the spool. Their files only grow: what is there now is taken."""
    for run in runs:
        yield SourceFile(
            name=document_name(run.uid),
            path=run.path,
            size=run.complete_size(),
            mtime_ns=run.path.stat().st_mtime_ns,
            runs=(run.uid,),
        )


def _describe(
    runs: Sequence[RunFile],
    members: Sequence[BundleMember],
    writer: TarWriter,
    contents: "Contents",
    destination: str,
    collection: str,
) -> Manifest:
    archived = tuple(archived_run(run) for run in runs)
    start = archived[0].start
    return Manifest(
        schema=SCHEMA,
        tool=TOOL,
        software=software_versions(),
        runs=archived,
        proposal=_text(start.get("proposal")),
        esaf=_text(start.get("esaf")),
        members=tuple(members),
        bundle=destination.rsplit("/", 1)[-1],
        size=writer.size,
        sha256=writer.sha256,
        md5=writer.md5,
        part=contents.part,
        parts=contents.parts,
        collection=collection,
        path=destination,
    )


def archived_run(run: RunFile) -> ArchivedRun:
    """With the documents in the spool's own JSON, so that numpy values stay what they are."""
    with run.path.open("rb") as file:
        first = json.loads(file.readline())[1]
        last = first
        for line in file:
            if line.startswith(b'["stop",'):
                last = json.loads(line)[1]
    stop = None if last is first else last
    return ArchivedRun(uid=run.uid, start=first, stop=stop, ledger=frame_ledger(run))


def write_manifest(tar: Path, manifest: Manifest) -> Bundle:
    """Write the manifest beside `tar`, durably; one from before is replaced."""
    data = encode_manifest(manifest)
    target = tar.with_name(manifest_path(tar.name))
    with _part_of(target) as part:
        part.write_bytes(data)
        sync(part)
    return Bundle(
        tar=tar,
        manifest_file=target,
        manifest=manifest,
        manifest_size=len(data),
        manifest_sha256=hashlib.sha256(data).hexdigest(),
    )


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """A file beside `target` that takes its place when all went well, and is gone otherwise."""
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(target)
        sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise StorageError(f"{place}: {error.strerror}; free space or give access there") from error


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
