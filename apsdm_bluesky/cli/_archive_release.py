"""`apsdm archive release`: which raw data may go from this side's disks, and have them go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.texts import size_text

from ._archive import epoch, find_run, opened, person
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.archive import Ledger, RunEntry, RunFilter, Verdict
    from apsdm_bluesky.config import BeamlineConfig

_DATE = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

UidsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="UID", help="Runs' uids, or how they begin.")
]


def release(
    uid: UidsArgument = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    experiment: Annotated[str | None, typer.Option(help="Runs of this experiment.")] = None,
    before: Annotated[
        datetime | None, typer.Option(formats=_DATE, help="Runs that began before, UTC.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Have it done; without, it is only told.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove raw data from this side's disks that are safe in the archive.

    Without --yes nothing is done: it tells what may go, and what stays and why. What went is still listed in
    the catalogue, and comes back with 'apsdm archive restore'.
    """
    from apsdm_bluesky.archive import RunFilter

    settings = configured(config, home)
    wanted = RunFilter(experiment=experiment, until=epoch(before))
    with opened(config, home) as ledger:
        entries = [find_run(ledger, each) for each in uid] if uid else _here(ledger, wanted)
        lines = _judged(settings, ledger, [entry for entry in entries if _fits(entry, wanted)])
        if yes:
            for line in lines:
                line.ask(ledger)
    if as_json:
        print(json.dumps(_told(lines)))
        return
    for line in lines:
        line.show()
    _sum_up(settings, lines, yes=yes)


@dataclass(slots=True)
class _Line:
    """A run, and what was decided on it."""

    entry: "RunEntry"
    verdict: "Verdict"
    asked: bool = False

    @property
    def bytes(self) -> int:
        return self.entry.size or 0

    def ask(self, ledger: "Ledger") -> None:
        """Have it released where that is allowed. The agent looks at everything again."""
        from apsdm_bluesky.archive import ReleaseAsked, TransitionError, Verdict

        if not self.verdict.allowed:
            return
        try:
            ledger.runs.apply(
                self.entry.uid, ReleaseAsked(rule="; ".join(self.verdict.reasons)), actor=person()
            )
            self.asked = True
        except TransitionError as error:  # somebody else was first
            self.verdict = Verdict(allowed=False, reasons=(str(error),))

    def show(self) -> None:
        """One line for a person."""
        word = "asked" if self.asked else "may go" if self.verdict.allowed else "stays"
        print(f"{word:6}  {self.entry.uid}  {size_text(self.entry.size)}  {'; '.join(self.verdict.reasons)}")


def _here(ledger: "Ledger", wanted: "RunFilter") -> "list[RunEntry]":
    """Raw runs that have data on this side, or may have, the latest first."""
    from apsdm_bluesky.archive import LocalCopy

    gone = (LocalCopy.RELEASED, LocalCopy.RESTORING)
    return [entry for entry in ledger.runs.list(wanted) if entry.local not in gone and entry.raw_uid is None]


def _fits(entry: "RunEntry", wanted: "RunFilter") -> bool:
    named = wanted.experiment is None or entry.experiment == wanted.experiment
    return named and (wanted.until is None or (entry.started is not None and entry.started < wanted.until))


def _judged(settings: "BeamlineConfig", ledger: "Ledger", entries: "Sequence[RunEntry]") -> list[_Line]:
    from apsdm_bluesky.archive import Requests, Verdicts
    from apsdm_bluesky.spool import Spool

    requests = Requests(Spool(settings.folders.spool), ledger, actor=person())
    requests.look()
    verdicts = Verdicts(ledger, requests, settings.archive)
    return [_Line(entry, verdicts.of(entry)) for entry in entries]


def _told(lines: Sequence[_Line]) -> dict[str, Any]:
    runs = [
        {
            "uid": line.entry.uid,
            "experiment": line.entry.experiment,
            "started": line.entry.started,
            "local": line.entry.local,
            "bytes": line.bytes,
            "allowed": line.verdict.allowed,
            "asked": line.asked,
            "reasons": line.verdict.reasons,
        }
        for line in lines
    ]
    return {"runs": runs, "bytes": _freed(lines), "asked": sum(line.asked for line in lines)}


def _freed(lines: Sequence[_Line]) -> int:
    return sum(line.bytes for line in lines if line.verdict.allowed)


def _sum_up(settings: "BeamlineConfig", lines: Sequence[_Line], *, yes: bool) -> None:
    from apsdm_bluesky.agent import agent_runs

    going = sum(line.verdict.allowed for line in lines)
    found = f"{going} of {len(lines)} runs, {size_text(_freed(lines))}"
    if not yes:
        print(f"may go: {found}. Nothing was done; --yes has it done")
    elif going and not agent_runs(settings):
        print(f"asked for: {found}. It is done when the agent runs: 'apsdm up'")
    else:
        print(f"asked for: {found}. The agent does it; 'apsdm archive ls' shows how far it is")
