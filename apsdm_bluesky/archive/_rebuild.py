"""The ledger again, from the manifests alone. What is entered is what was observed, and no better."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.transfer import RemoteFile, Transfer

from ._events import Event, FoundMissing
from ._found import Finder, FoundBundle
from ._ledger import Ledger
from ._machine import TransitionError, apply
from ._names import printable
from ._observed import observed
from ._record import Record, State
from ._runs import RunEntry
from ._salvage import Salvage
from ._steps import ArchivePlaces, first_part
from ._told import together


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A bundle that was entered, or would be: its state, what is wrong with it, where its manifest is."""

    bundle: str
    runs: tuple[str, ...]
    state: State
    reason: str
    manifest: str


@dataclass(slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild found.

    Parameters
    ----------
    entered
        New in the ledger.
    known
        Bundles that the ledger has with the same content; they stay as they are.
    conflicts
        What contradicts the ledger or another manifest; nothing of it is entered. A line each.
    refused
        Manifests and tars that cannot be used, and why. A line each.
    without_manifest
        Tars at the destination without a manifest that can be used.
    """

    entered: list[Entered] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    without_manifest: list[str] = field(default_factory=list)


class Rebuild:
    """Enters into `ledger` what the manifests tell that it does not have. Run it while no agent works.

    Parameters
    ----------
    transfers
        The destinations to look at.
    actor
        Who the history names.
    dry_run
        Only tell what would be entered.
    from_tars
        Fetch the tars that have no manifest, one after the other, and make their manifests again.
    """

    def __init__(
        self,
        ledger: Ledger,
        transfers: Iterable[Transfer],
        places: ArchivePlaces,
        *,
        actor: str,
        dry_run: bool = False,
        from_tars: bool = False,
    ) -> None:
        self._ledger = ledger
        self._transfers = transfers
        self._places = places
        self._actor = actor
        self._dry_run = dry_run
        self._from_tars = from_tars
        self._report = RebuildReport()

    def run(self) -> RebuildReport:
        """Look at the destinations and the local folder, and enter what is found.

        Raises
        ------
        ServiceError, StorageError
            A destination does not answer, or a folder cannot be used. What was entered before stays.
        """
        found = [bundle for transfer in self._transfers for bundle in self._look(transfer)]
        for family in _families(found, self._report):
            entries = together([bundle.told for bundle in family])
            for bundle in family:
                self._enter(bundle, entries)
            for record in self._unknown(_lost_parts(family)):
                reason = (
                    f"part {record.part} of {record.parts}: no manifest of it was found; "
                    "put it back and rebuild, or resume: it is made again of the raw data"
                )
                self._put(record, entries, FoundMissing(reason=reason), family[0].source)
        return self._report

    def _look(self, transfer: Transfer) -> Sequence[FoundBundle]:
        with _emptied(self._places.folder / "rebuild") as scratch:
            finder = Finder(
                transfer,
                first_part(self._places.prefix),
                local=self._places.folder / "bundles",
                scratch=scratch,
                roots=self._places.roots,
                keep=not self._dry_run,
            )
            findings = finder.find()
            salvaged = self._salvage(transfer, findings.tars, scratch)
        self._report.refused += findings.refused
        self._report.conflicts += findings.differing
        return [*findings.bundles, *salvaged]

    def _salvage(
        self, transfer: Transfer, tars: Sequence[RemoteFile], scratch: Path
    ) -> Sequence[FoundBundle]:
        if not self._from_tars:
            self._report.without_manifest += [printable(tar.path) for tar in tars]
            return []
        salvage = Salvage(
            transfer=transfer,
            local=self._places.folder / "bundles",
            scratch=scratch,
            folders={"raw": self._places.roots[0], "documents": self._places.folder / "documents"},
            roots=self._places.roots,
            dry_run=self._dry_run,
        )
        salvaged = []
        for tar in tars:
            try:
                salvaged.append(salvage.bundle(tar))
            except FormatError as error:
                self._report.refused.append(f"{printable(tar.path)}: {error}")
        return salvaged

    def _enter(self, bundle: FoundBundle, entries: Sequence[RunEntry]) -> None:
        told, known = bundle.told, self._ledger.get(bundle.told.record.uid)
        if known is None or known.sha256 is None:
            self._put(told.record, entries, observed(bundle), bundle.source)
        elif (known.sha256, known.manifest_sha256) == (told.sha256, told.manifest_sha256):
            self._report.known.append(known.uid)
        else:
            self._report.conflicts.append(
                f"{bundle.source}: bundle {known.uid} has other digests in the ledger"
            )

    def _unknown(self, records: Iterable[Record]) -> Iterator[Record]:
        return (record for record in records if self._ledger.get(record.uid) is None)

    def _put(self, record: Record, entries: Sequence[RunEntry], event: Event, source: str) -> None:
        local = {entry.uid: entry.local for entry in entries}
        evidence = {"manifest": source, "runs": record.runs, "local": local}
        try:
            after = apply(record, event)
            if self._dry_run:
                self._ledger.check_free(record)
            else:
                after = self._ledger.enter(record, entries, event, evidence=evidence, actor=self._actor)
        except TransitionError as error:
            self._report.conflicts.append(f"{source}: {error}")
            return
        entered = Entered(
            bundle=after.uid, runs=after.runs, state=after.state, reason=after.reason, manifest=source
        )
        self._report.entered.append(entered)


def _families(found: Sequence[FoundBundle], report: RebuildReport) -> Iterator[list[FoundBundle]]:
    """The parts of one bundle together, in their order; those that contradict each other are told of."""
    families: dict[tuple[object, ...], list[FoundBundle]] = defaultdict(list)
    claims: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for bundle in found:
        record = bundle.told.record
        key = (record.collection, record.runs, record.parts)
        families[key].append(bundle)
        for run in record.runs:
            claims[run].add(key)
    for family in families.values():
        disputed = [run for run in family[0].told.record.runs if len(claims[run]) > 1]
        parts = [bundle.told.record.part for bundle in family]
        if disputed or len(set(parts)) < len(parts):
            run = disputed[0] if disputed else family[0].told.record.runs[0]
            report.conflicts += [
                f"{bundle.source}: another manifest claims run {run} too" for bundle in family
            ]
        else:
            yield sorted(family, key=lambda bundle: bundle.told.record.part)


def _lost_parts(family: Sequence[FoundBundle]) -> Iterator[Record]:
    """Records of the parts that no manifest was found of: without them a run would look complete."""
    first = family[0].told.record
    there = {bundle.told.record.part for bundle in family}
    for part in range(1, first.parts + 1):
        if part not in there:
            yield replace(first, uid=f"{first.runs[0]}.{part}of{first.parts}", part=part)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for what is fetched, empty at the start and gone at the end."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        make_folder(folder)
        yield folder
        shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}; free space or give access there") from error
