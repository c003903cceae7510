"""One run's documents on disk, read back."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError, StorageError

from ._codec import decode_line
from ._disk import storage_errors, write_durably

# Run uids come out of documents and become file names: these characters only, no leading dot or dash.
_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}", re.ASCII)
_NAME = re.compile(rf"(?P<time>\d{{8}}T\d{{12}}Z)-(?P<uid>{_UID.pattern})\.jsonl", re.ASCII)
_TAIL_BLOCK = 65536


def run_file_name(start: Mapping[str, Any]) -> str:
    """The file name of the run that a start document opens: ``<start time, UTC, microseconds>-<uid>.jsonl``.

    Raises
    ------
    FormatError
        The uid is not fit for a file name, or the time is none.
    """
    uid, time = start.get("uid"), start.get("time")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise FormatError(
            f"start document: uid {uid!r} is refused; use at most 100 letters, digits, '-' and '_'"
        )
    try:
        moment = datetime.fromtimestamp(time, UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise FormatError(f"start document {uid}: time {time!r} is no Unix time [s]") from error
    return f"{moment:%Y%m%dT%H%M%S%f}Z-{uid}.jsonl"


class DamagedRunError(StorageError):
    """What a run's file holds is not what was written. Reading it again does not help."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """One run of the spool.

    Parameters
    ----------
    path
        The file of its documents, ``<session>/<start time>-<uid>.jsonl``. Markers and notes lie beside it.
    uid
        The uid of the run's start document.
    """

    path: Path
    uid: str

    @classmethod
    def from_path(cls, path: Path) -> "RunFile | None":
        """The run whose documents `path` holds; None for a foreign file."""
        match = _NAME.fullmatch(path.name)
        return cls(path, match["uid"]) if match and path.is_file() else None

    @property
    def start(self) -> dict[str, Any]:
        """The start document. `DamagedRunError` where the first line is none."""
        for name, doc in self.documents():
            if name == "start" and doc.get("uid") == self.uid:
                return doc
            break
        raise DamagedRunError(f"{self.path}: line 1 is not the start document of run {self.uid}")

    @property
    def stop(self) -> dict[str, Any] | None:
        """The stop document; None while the run is open."""
        line = self._last_line()
        if not line.startswith(b'["stop",'):
            return None
        return self._decode(line, "the last line")[1]

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted about the run, by key."""
        path = self._beside("notes.json")
        with storage_errors(path, "read"):
            if not path.exists():
                return {}
            text = path.read_bytes()
        try:
            notes = json.loads(text)
        except ValueError as error:
            raise StorageError(f"{path}: is damaged ({error}); remove it to go on without") from error
        return dict(notes)

    @property
    def delivered(self) -> bool:
        """Whether the whole run stands in the catalogue."""
        path = self._beside("delivered")
        with storage_errors(path, "read"):
            return path.exists()

    @property
    def refused(self) -> str | None:
        """Why the catalogue refused the run for good; None where it did not."""
        path = self._beside("refused")
        with storage_errors(path, "read"):
            return path.read_text(encoding="utf-8") if path.exists() else None

    @property
    def triggered(self) -> bool:
        """Whether the workflows that it starts have been asked for."""
        path = self._beside("triggered")
        with storage_errors(path, "read"):
            return path.exists()

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The documents in the order they were written. A torn last line (killed in mid-write) is dropped.

        Raises
        ------
        DamagedRunError
            A line elsewhere is damaged; the message names file and line.
        StorageError
            The file cannot be read.
        """
        with storage_errors(self.path, "read"):
            file = self.path.open("rb")
        with file:
            yield from self.follow(file)

    def follow(self, file: BinaryIO, line_number: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
        """The complete documents from where `file` stands, which is left at the first incomplete line."""
        while True:
            with storage_errors(self.path, "read"):
                position = file.tell()
                line = file.readline()
                if not line.endswith(b"\n"):
                    file.seek(position)
                    return
            line_number += 1
            yield self._decode(line, f"line {line_number}")

    def mark_delivered(self) -> None:
        """Note durably that the whole run stands in the catalogue."""
        write_durably(self._beside("delivered"), b"")

    def mark_refused(self, reason: str) -> None:
        """Note durably that the catalogue refused the run for good, and why."""
        write_durably(self._beside("refused"), reason.encode())

    def mark_triggered(self) -> None:
        """Note durably that the workflows that the run starts have been asked for."""
        write_durably(self._beside("triggered"), b"")

    def write_notes(self, notes: dict[str, Any]) -> None:
        """Replace the notes. For the session that owns the run: see `SpoolSession.note`."""
        write_durably(self._beside("notes.json"), json.dumps(notes).encode())

    def sync(self) -> None:
        """Bring every document written so far to the disk."""
        with storage_errors(self.path, "sync"):
            sync(self.path)

    def complete_size(self) -> int:
        """The size in bytes up to the end of the last complete line."""
        with storage_errors(self.path, "read"), self.path.open("rb") as file:
            return _line_start(file, file.seek(0, os.SEEK_END))

    def _last_line(self) -> bytes:
        with storage_errors(self.path, "read"), self.path.open("rb") as file:
            end = _line_start(file, file.seek(0, os.SEEK_END))
            start = _line_start(file, max(end - 1, 0))
            file.seek(start)
            return file.read(end - start)

    def _decode(self, line: bytes, where: str) -> tuple[str, dict[str, Any]]:
        try:
            return decode_line(line)
        except FormatError as error:
            raise DamagedRunError(f"{self.path}: {where} is damaged ({error})") from error

    def _beside(self, suffix: str) -> Path:
        return self.path.with_suffix(f".{suffix}")


def _line_start(file: BinaryIO, end: int) -> int:
    """Where the line that holds the byte before `end` starts: after the last newline before `end`, else 0."""
    while end > 0:
        begin = max(end - _TAIL_BLOCK, 0)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
