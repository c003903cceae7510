"""What a manifest must be beyond its types: no bundle that `make_bundle` wrote has another one."""

import re
from collections.abc import Iterator, Sequence

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest
from apsdm_bluesky.spool import run_file_name

from ._names import is_plain_path, is_text, printable
from ._tar_header import BLOCK

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST = 2**63 - 1  # of a database's integer
_MOST_PARTS = 10_000


def check_manifest(manifest: Manifest) -> None:
    """Refuse what no bundle has: names that lead elsewhere, members that overlap, digests that are none.

    Raises
    ------
    FormatError
        The first thing that is wrong.
    """
    for wrong in _faults(manifest):
        raise FormatError(f"a manifest that no bundle has: {wrong}")


def bundle_uid(manifest: Manifest) -> str:
    """The uid of the bundle's record, which is in its name too."""
    first = manifest.runs[0].uid
    return first if manifest.parts == 1 else f"{first}.{manifest.part}of{manifest.parts}"


def document_name(uid: str) -> str:
    """The member that holds a run's documents."""
    return f"documents/{uid}.jsonl"


def _faults(manifest: Manifest) -> Iterator[str]:
    yield from _bundle_faults(manifest)
    for run in manifest.runs:
        yield from _run_faults(run)
    uids = [run.uid for run in manifest.runs]
    if not uids or len(set(uids)) != len(uids):
        yield f"{len(uids)} runs, {len(set(uids))} of them different"
        return
    if manifest.bundle != f"{bundle_uid(manifest)}.tar":
        yield f"its name is {printable(manifest.bundle)}, that of its run {bundle_uid(manifest)}.tar"
    known = set(uids)
    for member in manifest.members:
        yield from _member_faults(member, known)
    yield from _places(manifest.members, manifest.size)
    yield from _documents(manifest, uids)


def _bundle_faults(manifest: Manifest) -> Iterator[str]:
    if not is_plain_path(manifest.path) or manifest.path.rsplit("/", 1)[-1] != manifest.bundle:
        yield f"path {printable(manifest.path)!r}, bundle {printable(manifest.bundle)!r}"
    if not manifest.collection or not is_text(manifest.collection):
        yield f"collection {printable(manifest.collection)!r}"
    if not 0 < manifest.size <= _MOST:
        yield f"size {printable(manifest.size)}"
    if not _SHA256.fullmatch(manifest.sha256) or not _MD5.fullmatch(manifest.md5):
        yield "sha256 or md5 is no digest"
    if not 1 <= manifest.part <= manifest.parts <= _MOST_PARTS:
        yield f"part {printable(manifest.part)} of {printable(manifest.parts)}"
    if not all(isinstance(value, str) for value in manifest.software.values()):
        yield "software without versions"


def _run_faults(run: ArchivedRun) -> Iterator[str]:
    try:
        run_file_name(run.start)
    except FormatError as error:
        yield printable(error)
        return
    if run.uid != run.start["uid"]:
        yield f"run {printable(run.uid)!r} with the start document of another one"


def _member_faults(member: BundleMember, uids: set[str]) -> Iterator[str]:
    name = printable(member.path)
    kind, _, rest = member.path.partition("/")
    if not is_plain_path(member.path, hidden=True) or kind not in ("raw", "documents") or not rest:
        yield f"member name {name!r}"
    elif kind == "documents" and rest.removesuffix(".jsonl") not in uids:
        yield f"{name}: is of none of its runs"
    elif not member.source.startswith("/") or not is_plain_path(member.source[1:], hidden=True):
        yield f"{name}: source {printable(member.source)!r}"
    elif kind == "raw" and not member.source.endswith(f"/{rest}"):
        yield f"{name}: source {printable(member.source)!r} is another file"
    if not 0 <= member.size <= _MOST or not -_MOST <= member.mtime_ns <= _MOST:
        yield f"{name}: size {printable(member.size)}, mtime_ns {printable(member.mtime_ns)}"
    if not _SHA256.fullmatch(member.sha256) or member.birth_sha256 not in (None, member.sha256):
        yield f"{name}: sha256 is no digest, or not that of its birth"
    if not all(isinstance(uid, str) and uid in uids for uid in member.runs):
        yield f"{name}: is of runs that are not in the bundle"


def _places(members: Sequence[BundleMember], size: int) -> Iterator[str]:
    """In the order of their names, each behind the one before and its own header."""
    end, before = 0, b""
    for member in members:
        if member.offset % BLOCK or member.offset < end + BLOCK or member.offset + member.size > size:
            yield f"{member.path}: byte {printable(member.offset)} overlaps another one or the tar's end"
        if member.path.encode() <= before:
            yield f"{member.path}: stands twice, or in no order"
        end, before = member.offset + member.size, member.path.encode()


def _documents(manifest: Manifest, uids: Sequence[str]) -> Iterator[str]:
    """The first part holds the documents of every run, the others none."""
    held = {member.path for member in manifest.members if member.path.startswith("documents/")}
    if held != ({*map(document_name, uids)} if manifest.part == 1 else set()):
        yield f"{len(held)} documents of {len(uids)} runs in part {manifest.part}"
