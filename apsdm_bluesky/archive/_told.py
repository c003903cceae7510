"""What a manifest tells, as far as the ledger wants to know it: pure but for a look at the raw files."""

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest

from ._local_copy import LocalCopy
from ._manifest_check import bundle_uid
from ._record import Record
from ._requests import entry_of_start
from ._runs import RunEntry
from ._tombstone import find_tombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldBundle:
    """A bundle without its members.

    Parameters
    ----------
    entries
        Its runs, as they are to be listed: their local copies and their sizes are those of this part.
    record
        As it is before anything is known of the destination.
    path, size, sha256, md5
        The tar's place at the destination, its bytes and digests (hexadecimal).
    manifest_size, manifest_sha256
        Of the manifest's file.
    """

    entries: tuple[RunEntry, ...]
    record: Record
    path: str
    size: int
    sha256: str
    md5: str
    manifest_size: int
    manifest_sha256: str

    @property
    def collection(self) -> str:
        """The destination's name."""
        return self.record.collection


def tell(manifest: Manifest, data: bytes, roots: Sequence[Path]) -> ToldBundle:
    """The bundle of a manifest, whose file holds `data`.

    Parameters
    ----------
    roots
        Raw files are looked for under these folders only.
    """
    moment = _moment(manifest.runs)
    record = Record(
        uid=bundle_uid(manifest),
        collection=manifest.collection,
        runs=tuple(run.uid for run in manifest.runs),
        part=manifest.part,
        parts=manifest.parts,
        created=moment,
    )
    entries = (_entry(run, manifest, roots) for run in manifest.runs)
    return ToldBundle(
        entries=tuple(replace(entry, created=moment) for entry in entries),
        record=record,
        path=manifest.path,
        size=manifest.size,
        sha256=manifest.sha256,
        md5=manifest.md5,
        manifest_size=len(data),
        manifest_sha256=hashlib.sha256(data).hexdigest(),
    )


def together(parts: Sequence[ToldBundle]) -> tuple[RunEntry, ...]:
    """The runs of all parts of a bundle: what is away in one of them is away."""
    columns = zip(*(part.entries for part in parts), strict=True)
    complete = len(parts) == parts[0].record.parts
    return tuple(_joined(column, complete=complete) for column in columns)


def _joined(entries: Sequence[RunEntry], *, complete: bool) -> RunEntry:
    worst = next((entry for entry in entries if entry.local is not LocalCopy.HELD), entries[0])
    sizes = [entry.size for entry in entries if entry.size is not None]
    known = complete and len(sizes) == len(entries)
    return replace(worst, size=sum(sizes) if known else None)


def _entry(run: ArchivedRun, manifest: Manifest, roots: Sequence[Path]) -> RunEntry:
    """Only a raw run has raw data to be released; an analysis that came along has no size of its own."""
    entry = entry_of_start(run.uid, run.start, manifest.collection)
    if entry.raw_uid is None:
        raw = [member for member in _members_of({run.uid}, manifest) if member.path.startswith("raw/")]
        gone = sum(not _is_here(member, roots) for member in raw)
        if gone:
            reason = f"{gone} of {len(raw)} raw files are not here"
            entry = replace(entry, local=LocalCopy.RELEASED, local_reason=reason)
    elif any(entry.raw_uid == other.uid for other in manifest.runs):
        return entry
    return replace(entry, size=_size(run, manifest))


def _size(run: ArchivedRun, manifest: Manifest) -> int | None:
    """Bytes of the run with the analyses of it in the bundle; None where the manifest does not tell whose."""
    company = {run.uid, *(other.uid for other in manifest.runs if other.start.get("raw_uid") == run.uid)}
    if manifest.schema < 4 and len(company) < len(manifest.runs):
        return None
    return sum(member.size for member in _members_of(company, manifest))


def _members_of(uids: set[str], manifest: Manifest) -> Iterable[BundleMember]:
    """The members of some runs; those of all where an old manifest does not tell."""
    return (member for member in manifest.members if not member.runs or uids & set(member.runs))


def _is_here(member: BundleMember, roots: Sequence[Path]) -> bool:
    place = Path(member.source)
    if not any(place.is_relative_to(root.resolve()) for root in roots):
        return False
    try:
        info = os.lstat(place)
    except OSError:
        return False
    whole = stat.S_ISREG(info.st_mode) and info.st_size == member.size
    return whole and find_tombstone(place) is None


def _moment(runs: Iterable[ArchivedRun]) -> float:
    """When the last of the runs ended: the bundle was planned later, so no retention is counted too long."""
    times = [doc.get("time") for run in runs for doc in (run.start, run.stop) if doc is not None]
    return max(float(time) for time in times if isinstance(time, int | float))
