"""What an archive bundle holds, as the manifest beside it tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of raw data as it was when it was written.

    Parameters
    ----------
    size
        Bytes.
    sha256
        Of the content, hexadecimal.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """A run in a bundle, with its start and stop documents as its ``documents/<uid>.jsonl`` has them.

    Parameters
    ----------
    stop
        None for an analysis run that had not ended when the bundle was made.
    ledger
        The fate of its frames, as its `ledger` stream tells; None where it has none.
    """

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None
    ledger: Mapping[str, Any] | None = None

    @property
    def exit_status(self) -> str | None:
        """'success', 'abort' or 'fail'; None where the run had not ended."""
        return None if self.stop is None else str(self.stop.get("exit_status"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMember:
    """A file in a bundle.

    Parameters
    ----------
    path
        Its name in the tar.
    size
        Bytes.
    mtime_ns
        When the source was last changed [ns since the Unix epoch]; the tar itself says 0.
    sha256
        Of the content, hexadecimal.
    offset
        Where the content begins in the tar [bytes]: it is readable without reading the rest.
    source
        The absolute path that it was read from, which is where a restore puts it.
    birth_sha256
        Of the content when it was written, as the run's documents tell: equal to `sha256`. None where they
        tell nothing of it.
    runs
        The uids of the runs in the bundle whose documents it holds, or whose documents refer to it; empty in
        manifests of schema 1 to 3, which do not tell.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    offset: int
    source: str
    birth_sha256: str | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that is needed to find, check and restore a bundle's content without the ledger.

    Parameters
    ----------
    schema
        Version of this description.
    tool
        Name and version of the program that made the bundle.
    software
        Versions of the packages that it runs with, by name; empty in manifests of schema 1 and 2.
    proposal, esaf
        From the first run's start document; None where it has none.
    bundle
        File name of the tar.
    size, sha256, md5
        Of the tar: bytes, hexadecimal digests.
    part, parts
        This is bundle `part` of `parts` (from 1) that hold the runs.
    collection, path
        The destination, and the tar's path there.
    task_id
        The transfer task; None in the file that lies beside the bundle, because it is written before.
    """

    schema: int
    tool: str
    runs: tuple[ArchivedRun, ...]
    proposal: str | None
    esaf: str | None
    members: tuple[BundleMember, ...]
    bundle: str
    size: int
    sha256: str
    md5: str
    part: int
    parts: int
    collection: str
    path: str
    task_id: str | None = None
    software: Mapping[str, str] = field(default_factory=dict)
