"""What must hold of an archive whose agent was killed a moment ago, and when all is done."""

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from apsdm_bluesky.archive import (
    Ledger,
    Record,
    State,
    TransitionEntry,
    TransitionError,
    apply,
    decode_manifest,
    manifest_path,
)
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.archive import _local_copy as local_events

_ON_LOCAL_DISK = (State.BUNDLED, State.SUBMITTED, State.COPIED, State.ON_TAPE)
_DELIVERED = (State.COPIED, State.ON_TAPE, State.VERIFIED)
_SCRATCH = ("*.part", "*.new", "*.tmp")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The ledger at one moment."""

    records: Sequence[Record]
    histories: dict[str, Sequence[TransitionEntry]]
    runs: dict[str, State]

    @property
    def transitions(self) -> int:
        return sum(len(history) for history in self.histories.values())


class Inspector:
    """Looks at an archive without touching it.

    Parameters
    ----------
    archive
        The archive's folder.
    tape
        The destination's folder.
    scratch
        A folder for copies of the ledger: to open a killed one would mend it, which is the agent's task.
    """

    def __init__(self, archive: Path, tape: Path, scratch: Path) -> None:
        self._archive = archive
        self._tape = tape
        self._scratch = scratch
        self._digests: dict[tuple[Path, int, int, int], str] = {}

    def look(self) -> Seen:
        """The ledger as a killed agent left it."""
        copy = self._scratch / "ledger"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for path in [*self._archive.glob("ledger.sqlite*"), *self._archive.glob("station")]:
            shutil.copy2(path, copy)
        ledger = Ledger(copy)
        try:
            records = ledger.list()
            return Seen(
                records=records,
                histories={record.uid: ledger.history(record.uid) for record in records},
                runs={entry.uid: entry.state for entry in ledger.runs.list()},
            )
        finally:
            ledger.close()

    def faults(self, seen: Seen) -> Iterator[str]:
        """What does not hold now."""
        for record in seen.records:
            yield from self._better_than_true(record)
            yield from self._illegal_history(record, seen.histories[record.uid])
        yield from _doubles(seen.records)
        yield from self._strays(seen.records)

    def faults_at_the_end(self, seen: Seen, uids: Iterable[str]) -> Iterator[str]:
        """What does not hold when all is verified and the agent has ended."""
        yield from self.faults(seen)
        expected = set(uids)
        if seen.runs.keys() != expected:
            yield f"the runs in the ledger are not those offered: {seen.runs.keys() ^ expected}"
        yield from (
            f"run {uid}: is {state}" for uid, state in seen.runs.items() if state is not State.VERIFIED
        )
        told = [run for record in seen.records if record.part == 1 for run in record.runs]
        if sorted(told) != sorted(expected):
            yield f"not every run is bundled once: {sorted(told)}"
        yield from self._left_behind()

    def _better_than_true(self, record: Record) -> Iterator[str]:
        """A state that says more than what stands on the disks."""
        tar, manifest = (str(record.destination), manifest_path(str(record.destination)))
        if record.state in _DELIVERED:
            for path, sha256 in ((tar, record.sha256), (manifest, record.manifest_sha256)):
                if self._sha256(self._tape / path) != sha256:
                    yield f"{record.uid}: is {record.state}, but {path} is not so at the destination"
        if record.state in _ON_LOCAL_DISK:
            local = self._archive / "bundles" / Path(tar).name
            if self._sha256(local) != record.sha256:
                yield f"{record.uid}: is {record.state}, but {local} is not as it was made"

    def _strays(self, records: Sequence[Record]) -> Iterator[str]:
        """Tars at the destination that no record knows, and runs that two of them hold."""
        known = {record.destination for record in records}
        held: dict[tuple[str, int], str] = {}
        for path in sorted(self._tape.rglob("*.manifest.json")):
            if path.name.startswith("."):
                continue
            manifest = decode_manifest(path.read_bytes())
            for run in manifest.runs:
                other = held.setdefault((run.uid, manifest.part), path.name)
                if other != path.name:
                    yield f"run {run.uid} part {manifest.part}: is in {other} and in {path.name}"
        for path in self._tape.rglob("*.tar"):
            name = path.relative_to(self._tape).as_posix()
            if not path.name.startswith(".") and name not in known:
                yield f"{name}: no record knows it"

    def _illegal_history(self, record: Record, history: Sequence[TransitionEntry]) -> Iterator[str]:
        """A history that the machine does not lead through, or not to the record."""
        now = Record(
            uid=record.uid,
            collection=record.collection,
            runs=record.runs,
            part=record.part,
            parts=record.parts,
        )
        lines = [entry for entry in history if entry.event not in ("Requested", "Planned")]
        for entry in lines:
            if hasattr(local_events, entry.event):
                continue
            try:
                after = apply(now, _event(entry))
            except TransitionError as error:
                yield f"{record.uid}: an illegal history: {error}"
                return
            told = (entry.from_state, entry.to_state)
            if told != (now.state, after.state):
                yield f"{record.uid}: {entry.event} is told to lead from {told[0]} to {told[1]}"
            now = after
        if [entry.event for entry in history].count("Planned") != 1:
            yield f"{record.uid}: was not planned once"
        times = {"created": record.created, "updated": record.updated, "verified": record.verified}
        if dataclasses.replace(now, **times) != record:
            yield f"{record.uid}: its history leads to {now}, but it is {record}"

    def _left_behind(self) -> Iterator[str]:
        for root in (self._archive, self._tape):
            for pattern in _SCRATCH:
                yield from (f"{path}: was left behind" for path in root.rglob(pattern))
        yield from (f"{path}: was left behind" for path in self._tape.rglob("*.lock"))
        for folder in ("readback", "progress"):
            yield from (f"{path}: was left behind" for path in (self._archive / folder).glob("*"))
        yield from (f"{path}: was left behind" for path in (self._archive / "bundles").glob("*.tar"))

    def _sha256(self, path: Path) -> str | None:
        """None where there is no such file. Hashed again only where it was touched."""
        try:
            info = path.stat()
        except FileNotFoundError:
            return None
        key = (path, info.st_size, info.st_mtime_ns, info.st_ino)
        if key not in self._digests:
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[key]


def _doubles(records: Sequence[Record]) -> Iterator[str]:
    """Runs that more bundles hold than have parts."""
    parts: dict[str, list[tuple[int, int]]] = {}
    for record in records:
        for run in record.runs:
            parts.setdefault(run, []).append((record.part, record.parts))
    for run, held in parts.items():
        if sorted(held) != [(part, len(held)) for part in range(1, len(held) + 1)]:
            yield f"run {run}: its bundles are the parts {held}"


def _event(entry: TransitionEntry) -> events.Event:
    kind = getattr(events, entry.event)
    given = {field.name for field in dataclasses.fields(kind) if field.init}
    return kind(**{name: value for name, value in entry.evidence.items() if name in given})
