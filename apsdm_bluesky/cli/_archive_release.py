"""`apsdm archive release`: which raw data may go from this side, and have them go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from apsdm_bluesky.archive import (
    Ledger,
    LocalCopy,
    ReleaseAsked,
    Requests,
    RunEntry,
    RunFilter,
    TransitionError,
    Verdict,
    Verdicts,
)
from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.spool import Spool

from ._options import ConfigOption, HomeOption, JsonOption, configured

_ACTOR = "apsdm archive release"

UidArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[UID]...", help="Runs; the beginning of the uid will do.")
]
ExperimentOption = Annotated[str | None, typer.Option("--experiment", help="Only runs of this experiment.")]
BeforeOption = Annotated[
    datetime | None,
    typer.Option("--before", formats=["%Y-%m-%d"], help="Only runs that began before this day, local time."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Ask the agent to do it; without: only tell.")]


def release(
    uid: UidArgument = None,
    experiment: ExperimentOption = None,
    before: BeforeOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove raw data that are safe in the archive from this side's disks.

    Without --yes nothing is done: it tells what would go, and what may not and why. What goes stays in the
    catalogue, and comes back with 'apsdm archive restore'.
    """
    settings = configured(config, home)
    ledger = Ledger(settings.folders.archive, settings.archive.database)
    try:
        wanted = RunFilter(experiment=experiment, until=None if before is None else before.timestamp())
        entries = [_only(ledger, each) for each in uid] if uid else _here(ledger, wanted)
        requests = Requests(Spool(settings.folders.spool), ledger, actor=_ACTOR)
        requests.look()
        verdicts = Verdicts(ledger, requests, settings.archive)
        lines = [_Line(entry, verdicts.of(entry)) for entry in entries if _fits(entry, wanted)]
        if yes:
            for line in lines:
                line.ask(ledger)
    finally:
        ledger.close()
    if as_json:
        print(json.dumps(_told(lines)))
    else:
        _print(lines, yes=yes)


@dataclass(slots=True)
class _Line:
    """A run, and what was decided on it."""

    entry: RunEntry
    verdict: Verdict
    asked: bool = False

    @property
    def bytes(self) -> int:
        return self.entry.size or 0

    def ask(self, ledger: Ledger) -> None:
        """Have it released where that is allowed. The agent looks at everything again."""
        if not self.verdict.allowed:
            return
        rule = "; ".join(self.verdict.reasons)
        try:
            ledger.runs.apply(self.entry.uid, ReleaseAsked(rule=rule), actor=_ACTOR)
        except TransitionError as error:  # somebody else was first
            self.verdict = Verdict(allowed=False, reasons=(str(error),))
        else:
            self.asked = True


def _only(ledger: Ledger, uid: str) -> RunEntry:
    found = ledger.runs.list(RunFilter(uid=uid, limit=2))
    exact = [entry for entry in found if entry.uid == uid]
    if not found:
        raise ConfigError(f"run {uid}: the archive has no such run; see 'apsdm archive ls'")
    if len(found) > 1 and not exact:
        raise ConfigError(f"run {uid}: several runs begin so; give more of the uid")
    return (exact or list(found))[0]


def _here(ledger: Ledger, wanted: RunFilter) -> Sequence[RunEntry]:
    """Raw runs with data on this side, the latest first."""
    held = (LocalCopy.HELD, LocalCopy.RELEASING)
    return [entry for entry in ledger.runs.list(wanted) if entry.local in held and entry.raw_uid is None]


def _fits(entry: RunEntry, wanted: RunFilter) -> bool:
    named = wanted.experiment is None or entry.experiment == wanted.experiment
    early = wanted.until is None or (entry.started is not None and entry.started < wanted.until)
    return named and early


def _told(lines: Sequence[_Line]) -> dict[str, Any]:
    return {
        "runs": [
            {
                "uid": line.entry.uid,
                "experiment": line.entry.experiment,
                "started": line.entry.started,
                "local": line.entry.local,
                "bytes": line.bytes,
                "allowed": line.verdict.allowed,
                "asked": line.asked,
                "reasons": list(line.verdict.reasons),
            }
            for line in lines
        ],
        "bytes": sum(line.bytes for line in lines if line.verdict.allowed),
        "asked": sum(line.asked for line in lines),
    }


def _print(lines: Sequence[_Line], *, yes: bool) -> None:
    for line in lines:
        word = "asked" if line.asked else "may go" if line.verdict.allowed else "stays"
        print(f"{word:7} {line.entry.uid:36} {_size(line.bytes):>9}  {'; '.join(line.verdict.reasons)}")
    going = [line for line in lines if line.verdict.allowed]
    total = _size(sum(line.bytes for line in going))
    if yes:
        print(f"the agent was asked to release {len(going)} of {len(lines)} runs, {total}")
    else:
        print(f"{len(going)} of {len(lines)} runs may go, {total}; nothing was done, --yes has it done")


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} TB"
