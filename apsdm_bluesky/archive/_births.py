"""What documents say of raw files as they were when they were written, and of the fates of frames."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apsdm_bluesky.model import BundleMember
from apsdm_bluesky.spool import RunFile

from ._sources import LateError, SourceError, SourceFile

_FILES = "_files"  # DET_files, in the stream `ledger`


class Births:
    """The hashes that travelled with the documents: by the name in the bundle, (bytes, sha256).

    Each stream_datum tells in `files` what it announces; the ledger of a run that ended tells all, with the
    metadata in their last state.

    Raises
    ------
    SourceError
        Documents that cannot be read as such.
    """

    def __init__(self, runs: Sequence[RunFile]) -> None:
        self._told: dict[str, tuple[int, str]] = {}
        for run in runs:
            try:
                for path, size, sha256 in _told_files(run):
                    self._told[f"raw/{path}"] = int(size), str(sha256)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise SourceError(f"run {run.uid}: a malformed list of files ({error!r})") from error

    def checked(self, member: BundleMember) -> BundleMember:
        """The member with its hash at birth.

        Raises
        ------
        SourceError
            It is not what was written.
        """
        told = self._told.get(member.path)
        if told is None:
            return member
        if told != (member.size, member.sha256):
            raise SourceError(
                f"{member.source}: is not what was written ({told[0]} bytes, sha256 {told[1][:12]}..., now "
                f"{member.size} bytes, {member.sha256[:12]}...); put the file back as it was, then resume"
            )
        return replace(member, birth_sha256=told[1])

    def check_complete(self, files: Iterable[SourceFile]) -> None:
        """Refuse to bundle less than what was written; `files` are all that the bundles hold.

        Raises
        ------
        LateError
            A file is missing or shorter.
        """
        sizes = {file.name: file.size for file in files}
        missing = sorted(self._told.keys() - sizes.keys())
        if missing:
            raise LateError(
                f"{missing[0]}: is missing, but the documents tell its hash ({len(missing)} files)"
            )
        for name, (size, _) in self._told.items():
            if sizes[name] < size:
                raise LateError(f"{name}: has {sizes[name]} bytes, but {size} were written")


def frame_ledger(run: RunFile) -> Mapping[str, Any] | None:
    """The fate of a run's frames, as its `ledger` stream tells; None where it has none."""
    ledger = None
    for data in _ledgers(run):
        ledger = {key: value for key, value in data.items() if not key.endswith(_FILES)}
    return ledger


def _told_files(run: RunFile) -> Iterator[tuple[Any, Any, Any]]:
    for name, doc in run.documents():
        if name == "stream_datum":
            yield from doc.get("files", ())
    for data in _ledgers(run):
        for key, value in data.items():
            if key.endswith(_FILES):
                yield from json.loads(value)


def _ledgers(run: RunFile) -> Iterator[Mapping[str, Any]]:
    """The data of the events of the stream `ledger`."""
    ledgers = set()
    for name, doc in run.documents():
        if name == "descriptor" and doc.get("name") == "ledger":
            ledgers.add(doc["uid"])
        elif name == "event" and doc.get("descriptor") in ledgers:
            yield doc["data"]
