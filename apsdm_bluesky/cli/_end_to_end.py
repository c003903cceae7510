"""Take one run at a simulated detector, follow it to the archive, and report."""

import io
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from apsdm_bluesky.archive import Record, State
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import AcquisitionError, ReductionError, ServiceError
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import Session, open_session

from ._report import build_report, print_report
from ._services import Services, services

_REDUCTION_TIMEOUT_S = 300.0
_CATALOGUE_TIMEOUT_S = 120.0
_ARCHIVE_TIMEOUT_S = 300.0
_POLL_S = 0.5
_ARCHIVED = {State.VERIFIED, State.RELEASED}
_SETTLED = {*_ARCHIVED, State.QUARANTINED}


def end_to_end(
    config: BeamlineConfig, *, frames: int, rate: float, as_json: bool, keep_open: bool, md: Mapping[str, Any]
) -> None:
    """Run it, and print the table or the JSON object."""
    with ExitStack() as stack:
        progress = stack.enter_context(_progress())
        with _step(progress, "Tiled server and agent"):
            running = stack.enter_context(services(config))
        with _step(progress, "Simulated detector and session"):
            session = stack.enter_context(open_session(config))
        uid = _take(session, frames, rate, md, progress)
        record = _follow(session, uid, progress, running)
        progress.stop()
        report = build_report(session, uid, record, running.uri)
        if as_json:
            print(json.dumps(report), flush=True)
        else:
            print_report(report, config, running)
        if keep_open:
            _wait_for_ctrl_c(running)
        _refuse_incomplete(report)


def _refuse_incomplete(report: Mapping[str, Any]) -> None:
    """A run that lost frames is told in full, and is no success."""
    frames = report["frames"]
    if not frames["expected"] == frames["received"] == frames["reduced"] == frames["stored"]:
        raise AcquisitionError(f"run {report['raw_uid']} is not complete: {report['verdict']}")
    archive = report["archive"]
    if archive["state"] not in _ARCHIVED:
        raise ServiceError(
            f"run {report['raw_uid']} is not archived ({archive['state']}): {archive['reason']}"
        )


def _take(session: Session, frames: int, rate: float, md: Mapping[str, Any], progress: Progress) -> str:
    """The run itself."""
    (detector,) = session.devices.values()
    plan = xpcs_series(
        detector, frames, acquire_period=1 / rate, acquire_time=1 / rate, md={**md, "frame_rate_hz": rate}
    )
    with _step(progress, "Frames", total=frames, done=lambda: detector.received):
        uids = _run(session.RE, plan)
    return str(uids[0])


def _run(run_engine: Any, plan: Any) -> tuple[str, ...]:
    """Run a plan; Ctrl-C aborts it, which closes the run and leaves the detector idle."""
    from bluesky.utils import RunEngineInterrupted

    run_engine.context_managers = [
        pausing_at_ctrl_c
    ]  # bluesky's own waits for a checkpoint, or for a second one
    with redirect_stdout(io.StringIO()):  # the RunEngine explains what one could type at a prompt
        try:
            return tuple(run_engine(plan))
        except RunEngineInterrupted as error:
            run_engine.abort("interrupted by Ctrl-C")
            raise KeyboardInterrupt from error


@contextmanager
def pausing_at_ctrl_c(run_engine: Any) -> Iterator[None]:
    """While it is entered, SIGINT pauses the plan at once."""
    wanted = threading.Event()
    over = threading.Event()

    def pause() -> None:
        wanted.wait()
        if not over.is_set():
            run_engine.request_pause(defer=False)

    thread = threading.Thread(target=pause, name="ctrl-c")  # a signal handler must not wait for the RunEngine
    before = signal.signal(signal.SIGINT, lambda *_: wanted.set())
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        over.set()
        wanted.set()
        thread.join()


def _follow(session: Session, uid: str, progress: Progress, running: Services) -> Record:
    """Wait for the result, the catalogue and the archive."""
    (reducer,) = session.reducers.values()
    analysis = reducer.last
    with _step(progress, "Reduction"):
        if analysis is None or not analysis.ended.wait(_REDUCTION_TIMEOUT_S):
            raise ReductionError(f"run {uid}: no result within {_REDUCTION_TIMEOUT_S:g} s")
        if analysis.result is None:
            reason = analysis.fate.reason if analysis.fate else "it never began"
            raise ReductionError(f"run {uid}: the reduction failed: {reason}")
    with _step(progress, "Catalogue"):
        _await_delivery(session, uid, running)
    with _step(progress, "Archive"):
        return _archived(session, uid, running)


def _await_delivery(session: Session, uid: str, running: Services) -> None:
    deadline = time.monotonic() + _CATALOGUE_TIMEOUT_S
    while not session.wait_delivered(_POLL_S):
        running.check()
        if time.monotonic() > deadline:
            raise ServiceError(
                f"run {uid}: not in the catalogue within {_CATALOGUE_TIMEOUT_S:g} s; its documents are "
                f"safe in the spool; see {running.logs / 'apsdm.log'}"
            )


def _archived(session: Session, uid: str, running: Services) -> Record:
    """The bundle of the run that is worst off, when nothing more will happen to it by itself."""
    timeout = _ARCHIVE_TIMEOUT_S + session.config.archive.bundle_wait_s
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        running.check()
        entry = session.archive.runs.get(uid)
        records: list[Record] = [
            record for record in session.archive.bundles_of(uid) if entry and record.state is entry.state
        ]
        if records and (records[0].state in _SETTLED or records[0].needs_person):
            return records[0]
        time.sleep(0.1)
    raise ServiceError(f"run {uid}: not archived within {timeout:g} s; see 'apsdm agent --status'")


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def _step(
    progress: Progress, name: str, total: int = 1, done: Callable[[], int] | None = None
) -> Iterator[None]:
    """One line of progress; `done` is asked now and then."""
    task = progress.add_task(name, total=total)
    finished = threading.Event()
    thread = threading.Thread(target=_watch, args=(progress, task, done, finished), daemon=True)
    if done is not None:
        thread.start()
    try:
        yield
        progress.update(task, completed=total)
    finally:
        finished.set()
        if done is not None:
            thread.join()


def _watch(progress: Progress, task: Any, done: Callable[[], int], finished: threading.Event) -> None:
    while not finished.wait(0.1):
        progress.update(task, completed=done())


def _wait_for_ctrl_c(running: Services) -> None:
    print(f"The server stays at {running.uri} until Ctrl-C.", file=sys.stderr)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
