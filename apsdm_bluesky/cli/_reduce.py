"""`apsdm reduce`: the live reduction, of frames that are already there."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.config import BeamlineConfig, QMapConfig
from apsdm_bluesky.errors import ConfigError, ReductionError, StorageError

from ._bins import RINGS, CenterOption, Point, QMapOption, bins_of, point_of
from ._logs import log_to_file
from ._options import ConfigOption, HomeOption, JsonOption, configured, job_metadata

if TYPE_CHECKING:
    from apsdm_bluesky.callbacks import SeriesAnalysis
    from apsdm_bluesky.formats import FrameSeries, Recording
    from apsdm_bluesky.model import AcquisitionLedger

    from ._catalogue import Document
    from ._offline import Tell
    from ._past_run import PastRun

# As much of a uid as finds a run.
_UID = re.compile(r"[0-9a-f]{5,8}|[0-9a-f]{8}-[0-9a-f-]{0,27}")


def reduce(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|UID",
            help="A file of frames, as 'apsdm replay' takes it; or the uid of a raw run in the catalogue, of "
            "which the first five characters will do.",
        ),
    ],
    rings: Annotated[
        int | None,
        typer.Option(min=1, help=f"Number of dynamic q bins; default: {RINGS}.", show_default=False),
    ] = None,
    center: CenterOption = None,
    qmap: QMapOption = None,
    no_publish: Annotated[
        bool, typer.Option("--no-publish", help="Keep the result of a run out of the catalogue.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write the result into this XPCS file (HDF5).", show_default=False),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reduce the frames of a file, or of a run in the catalogue, as a live series is reduced.

    Without --config and without bins a run is reduced as its session did, a file in rings about its middle.
    """
    begin = time.monotonic()
    point = point_of(center)
    bins = _Bins(rings, point, qmap) if rings or point or qmap else None
    if out is not None and out.exists():
        raise StorageError(f"{out}: exists already; choose another name")
    with ExitStack() as stack:
        interrupted = stack.enter_context(_interrupts_kept())
        job = _job(source, configured(config, home), bins, stack, as_it_was=config is None)
        # Kept back until the end: what fails, or is interrupted, leaves nothing in the catalogue.
        documents: list[Document] = []
        analysis = _analysis(job, documents, stack)
        log_to_file(job.settings.folders)
        with _progress(job.frames.frames, interrupted) as tell:
            acquisition = _reduce(job, analysis, tell)
        report = _report(job, analysis, acquisition)
        publish = job.run is not None and not no_publish
        if out is not None:
            _write(job, documents, out, published=publish)
        if publish:
            report["processed_uid"] = _publish(job, analysis, documents)
    report["seconds"] = time.monotonic() - begin
    if as_json:
        print(json.dumps(report))
    else:
        _print(report)


@dataclass(frozen=True, slots=True)
class _Bins:
    """What the options say."""

    rings: int | None = None
    center: Point | None = None
    qmap: Path | None = None

    def of(self, shape: tuple[int, int]) -> QMapConfig:
        return bins_of(shape, self.rings or RINGS, self.center, self.qmap)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be reduced, and how. `run` is None where the frames are a file's."""

    name: str
    frames: "FrameSeries | Recording"
    settings: BeamlineConfig
    run: "PastRun | None" = None


def _job(
    source: str, settings: BeamlineConfig, bins: _Bins | None, stack: ExitStack, *, as_it_was: bool
) -> _Job:
    if _UID.fullmatch(source) and not Path(source).exists():
        from ._past_run import past_run

        run = stack.enter_context(past_run(settings, source))
        settings = run.settings_then(settings) if as_it_was else settings
        job = _Job(name=run.frames.detector, frames=run.frames, settings=settings, run=run)
    else:
        from apsdm_bluesky.formats import open_replay

        job = _Job(name=Path(source).name, frames=open_replay(Path(source)), settings=settings)
        if settings.reduction.qmap is None:  # the simulated sample's is not that of a file
            bins = bins or _Bins()
    if bins is None:
        return job
    reduction = job.settings.reduction.model_copy(update={"qmap": bins.of(job.frames.shape)})
    return replace(job, settings=job.settings.model_copy(update={"reduction": reduction}))


def _analysis(job: _Job, documents: "list[Document]", stack: ExitStack) -> "SeriesAnalysis":
    from apsdm_bluesky.callbacks import SeriesAnalysis
    from apsdm_bluesky.qmaps import qmap_chooser
    from apsdm_bluesky.streaming import Threads

    qmap_for = qmap_chooser(job.settings)
    if qmap_for is None:
        raise ConfigError("no q bins are known: give --rings, --qmap, or a --config with reduction.qmap")
    qmap = qmap_for(job.frames.shape)
    # Nothing is acquired meanwhile: all cores are ours.
    threads = job.settings.reduction.threads or len(os.sched_getaffinity(0))
    return SeriesAnalysis(
        job.name,
        job.run.frames.start if job.run else {},
        emit=lambda name, document: documents.append((name, document)),
        qmap_for=lambda _shape: qmap,
        config=job.settings.reduction,
        workers=stack.enter_context(Threads(threads)),
        running=False,
        metadata=job_metadata(),
    )


def _reduce(job: _Job, analysis: "SeriesAnalysis", tell: "Tell") -> "AcquisitionLedger":
    from ._offline import reduce_frames

    return reduce_frames(analysis, job.frames, ledger=job.run.frames.ledger if job.run else None, tell=tell)


def _report(job: _Job, analysis: "SeriesAnalysis", acquisition: "AcquisitionLedger") -> dict[str, Any]:
    """The JSON object: numbers only, NaN as null."""
    from ._tables import mask_of, numbers

    result, fate = analysis.result, analysis.fate
    if result is None or fate is None:
        raise ReductionError(f"{job.name}: there is no result")
    multitau, decays = result.multitau, result.decays
    return {
        "raw_uid": job.run.uid if job.run else None,
        "processed_uid": None,
        "result_sha256": result.sha256,
        "equal_results": job.run.equal_results(result.sha256) if job.run else [],
        "frames": {
            "expected": acquisition.expected,
            "reduced": fate.done,
            "dropped": fate.dropped,
            "missing": acquisition.missing,
            "corrupt": acquisition.corrupt,
            "duplicate": acquisition.duplicate,
        },
        "mask": mask_of(result.hot_pixels, result.qmap.mask),
        "g2": {
            "q": numbers(multitau.q),
            "delays": multitau.delays.tolist(),
            "values": [numbers(row) for row in multitau.g2.T],
            "errors": [numbers(row) for row in multitau.g2_err.T],
        },
        "fit": {"gamma": numbers(decays.gamma), "gamma_err": numbers(decays.gamma_err)},
    }


def _write(job: _Job, documents: "list[Document]", out: Path, *, published: bool) -> None:
    from apsdm_bluesky.formats import RawRun, run_record, write_xpcs

    start = next(document for name, document in documents if name == "start")
    names = {document["uid"]: document["name"] for name, document in documents if name == "descriptor"}
    streams = {names[doc["descriptor"]]: doc["data"] for name, doc in documents if name == "event"}
    raw = None
    if job.run is not None:
        frames = job.run.frames
        raw = RawRun(start=frames.start, stop=frames.stop, configuration=frames.camera)
    record = run_record(start, streams, raw)
    facts = record.provenance
    facts = replace(
        facts,
        identifier=facts.identifier if job.run else job.name,
        result_uid=facts.result_uid if published else "",
    )
    write_xpcs(out, replace(record, provenance=facts))


def _publish(job: _Job, analysis: "SeriesAnalysis", documents: "list[Document]") -> str | None:
    from ._catalogue import publish

    if not publish(job.settings, documents):
        print(
            "apsdm: the result is safe in the spool, but not in the catalogue yet; the agent delivers it",
            file=sys.stderr,
        )
    return analysis.uid


@contextmanager
def _interrupts_kept() -> Iterator[list[int]]:
    """The signals of Ctrl-C that came: in the middle of an import, a library's bare except may catch it."""
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(frames: int, interrupted: list[int]) -> "Iterator[Tell]":
    """A bar on a terminal; the place where a Ctrl-C that got lost is found."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("frames", total=frames)

        def tell(done: int) -> None:
            if interrupted:
                raise KeyboardInterrupt
            progress.update(task, completed=done)

        yield tell


def _print(report: dict[str, Any]) -> None:
    """The tables a person reads."""
    from rich.console import Console
    from rich.table import Table

    from ._tables import masked, rates

    frames, console = report["frames"], Console()
    table = Table(show_header=False)
    for name, uid in (("raw run", report["raw_uid"]), ("result", report["processed_uid"])):
        if uid is not None:
            table.add_row(name, uid)
    fates = ", ".join(f"{frames[key]} {key}" for key in frames if key == "reduced" or frames[key])
    table.add_row("frames", fates)
    table.add_row("masked", masked(report["mask"]))
    table.add_row("hash", report["result_sha256"])
    if report["equal_results"]:
        table.add_row("equal to", "\n".join(report["equal_results"]))
    console.print(table)
    console.print(rates(report))
