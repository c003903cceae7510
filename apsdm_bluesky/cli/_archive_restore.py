"""`apsdm archive restore`, `verify`, `drill`, `cancel`: what is read back from the archive."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.texts import size_text

from ._archive import UidArgument, find_run, opened, person
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.archive import Ledger, Reading
    from apsdm_bluesky.config import BeamlineConfig

NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Ask the agent for it, and end.")]


def restore(
    uid: UidArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    member: Annotated[
        list[str] | None,
        typer.Option(help="A file in its bundles, or a folder of them; may be repeated. Default: all."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="A folder that gets the files; default: where they were.")
    ] = None,
    no_wait: NoWaitOption = False,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="End at once where the run's files were not released.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait at most; default: for ever.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a run's files back from the archive; every one is compared, and none is overwritten.

    Ctrl-C ends the waiting only. Exit code 1 where it did not come back, or no agent runs.
    """
    from apsdm_bluesky.archive import request_restore

    settings = configured(config, home)
    with opened(config, home) as ledger:
        if if_needed and not _away(ledger, uid):
            print(json.dumps(_told(None, [], run=uid)) if as_json else f"run {uid}: its files are here")
            return
        run = find_run(ledger, uid).uid
        job = (_restores(ledger, run) if if_needed else None) or request_restore(
            ledger,
            run,
            member,
            None if to is None else to.absolute(),
            actor=person(),
            archive=settings.folders.archive,
        )
        if not as_json:
            print(_estimate(settings, ledger, job, run), flush=True)
        readings = _readings(settings, ledger, job, no_wait, as_json, run, timeout)
        if readings is None:
            return
        files = _files(ledger, readings)
    if as_json:
        print(json.dumps(_told(job, readings, run=run, files=files)))
    _check(readings)
    if not as_json:
        where = "in their places" if to is None else f"in {to.absolute()}"
        count = files["written"] + files["adopted"]
        print(
            f"run {run}: {count} files ({size_text(files['bytes'])}) {where}, {files['adopted']} were there"
        )


def verify(
    uid: UidArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read a run's bundles again, all of them, and compare: the evidence is renewed, or taken away.

    Exit code 1 where a bundle is not what it was, or no agent runs.
    """
    from apsdm_bluesky.archive import request_verify

    settings = configured(config, home)
    with opened(config, home) as ledger:
        run = find_run(ledger, uid).uid
        job = request_verify(ledger, run, actor=person())
        if not as_json:
            print(_estimate(settings, ledger, job, run), flush=True)
        readings = _readings(settings, ledger, job, no_wait, as_json, run)
    if readings is None:
        return
    if as_json:
        print(json.dumps(_told(job, readings, run=run)))
    _check(readings)
    if not as_json:
        print(f"run {run}: {_bundles(readings)} read again, sha256 of all members as in the manifest")


def drill(
    config: ConfigOption = None,
    home: HomeOption = None,
    bundles: Annotated[
        int | None, typer.Option(min=1, help="Bundles to read back; default: archive.drill_bundles.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Choose the same bundles again.")] = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read random bundles back, as a restore would, and tell what that says of the archive.

    Exit code 1 where one is bad, or no agent runs.
    """
    from apsdm_bluesky.archive import drill_report, request_drill

    settings = configured(config, home)
    with opened(config, home) as ledger:
        number = bundles or settings.archive.drill_bundles
        job = request_drill(ledger, number, seed=seed, actor=person())
        readings = _readings(settings, ledger, job, no_wait, as_json, None)
        if readings is None:
            return
        now, ever = drill_report(ledger, job), drill_report(ledger)
    if as_json:
        print(json.dumps(_told(job, readings, drill=asdict(now), all_drills=asdict(ever))))
    else:
        for name, report in (("this drill", now), ("all drills", ever)):
            print(
                f"{name}: {report.checked} bundles checked, {report.bad} bad; "
                f"with 95 % confidence fewer than {report.share_below:.2%} are bad"
            )
    _check(readings)


def cancel(uid: UidArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Give up what is being read back for a run. Files that are back stay."""
    from apsdm_bluesky.archive import cancel_job

    with opened(config, home) as ledger:
        run = find_run(ledger, uid).uid
        jobs = {one.job for one in ledger.readings.of_run(run) if not one.ended}
        if not jobs:
            raise ApsdmError(f"run {run}: nothing is being read back for it")
        for job in sorted(jobs):
            print(f"job {job}: {_bundles(cancel_job(ledger, job, actor=person()))} given up")


def _away(ledger: "Ledger", uid: str) -> bool:
    """Whether files of a run that begins so are not here; of one that the archive does not know, they are."""
    from apsdm_bluesky.archive import LocalCopy, RunFilter

    return any(run.local is not LocalCopy.HELD for run in ledger.runs.list(RunFilter(uid=uid, limit=2)))


def _restores(ledger: "Ledger", run: str) -> str | None:
    """The job that brings all of the run back already; None where none does."""
    jobs = (one.job for one in ledger.readings.of_run(run) if one.brings_run_back and not one.ended)
    return next(jobs, None)


def _readings(
    settings: "BeamlineConfig",
    ledger: "Ledger",
    job: str,
    no_wait: bool,
    as_json: bool,
    run: str | None,
    timeout_s: float | None = None,
) -> "Sequence[Reading] | None":
    """How the job ended; None where nobody waits for that."""
    from ._archive_jobs import check_agent, follow_job

    if not no_wait:
        return follow_job(settings, ledger, job, quiet=as_json, timeout_s=timeout_s)
    if as_json:
        print(json.dumps(_told(job, ledger.readings.job(job), run=run)))
    else:
        print(f"job {job}")
    check_agent(settings, job)
    return None


def _check(readings: "Sequence[Reading]") -> None:
    from ._archive_jobs import check_ends

    check_ends(readings)


def _estimate(settings: "BeamlineConfig", ledger: "Ledger", job: str, run: str) -> str:
    """What is to be fetched, and how long that may take."""
    from apsdm_bluesky.archive import duration, restore_estimate

    records = [ledger.get(one.bundle) for one in ledger.readings.job(job)]
    bundles = [record for record in records if record is not None]
    seconds = restore_estimate(ledger, bundles, settings.archive.staging_s)
    takes = "nobody knows yet how long it takes" if seconds is None else f"about {duration(seconds)}"
    size = size_text(sum(record.size or 0 for record in bundles))
    return f"run {run}: {_bundles(bundles)} of {size} to read, {takes}"


def _files(ledger: "Ledger", readings: "Sequence[Reading]") -> dict[str, int]:
    """What was put in place, as the histories tell."""
    files = {"written": 0, "adopted": 0, "bytes": 0}
    for reading in readings:
        for line in ledger.readings.history(reading.uid):
            if line.event == "Published":
                files = {name: count + int(line.evidence[name]) for name, count in files.items()}
    return files


def _told(job: str | None, readings: "Sequence[Reading]", **more: Any) -> dict[str, Any]:
    return {"job": job, **more, "readings": [asdict(reading) for reading in readings]}


def _bundles(some: Sequence[object]) -> str:
    return "1 bundle" if len(some) == 1 else f"{len(some)} bundles"
