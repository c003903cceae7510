"""Take one run at a simulated detector, follow it to the archive, and report."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
_SETTLED = {State.VERIFIED, State.RELEASED, State.QUARANTINED}


def end_to_end(
    config: BeamlineConfig, *, frames: int, rate: float, as_json: bool, keep_open: bool, md: Mapping[str, Any]
) -> None:
    """Run it, and print the table or the JSON object."""
    with ExitStack() as stack:
        progress = stack.enter_context(_progress())
        with _step(progress, "Tiled server and agent"):
            running = stack.enter_context(services(config, any_port=True))
        with _step(progress, "Simulated detector and session"):
            session = stack.enter_context(open_session(config))
        uid = _take(session, frames, rate, md, progress)
        record = _follow(session, uid, progress)
        progress.stop()
        report = build_report(session, uid, record, running.uri)
        if as_json:
            print(json.dumps(report), flush=True)
        else:
            print_report(report, config, running)
        if keep_open:
            _wait_for_ctrl_c(running)


def _take(session: Session, frames: int, rate: float, md: Mapping[str, Any], progress: Progress) -> str:
    """The run itself."""
    (detector,) = session.devices.values()
    plan = xpcs_series(
        detector, frames, acquire_period=1 / rate, acquire_time=1 / rate, md={**md, "frame_rate_hz": rate}
    )
    with _step(progress, "Frames", total=frames, done=lambda: detector.received):
        uids = session.RE(plan)
    return str(uids[0])


def _follow(session: Session, uid: str, progress: Progress) -> Record:
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
        if not session.wait_delivered(_CATALOGUE_TIMEOUT_S):
            raise ServiceError(
                f"run {uid}: not in the catalogue within {_CATALOGUE_TIMEOUT_S:g} s; run 'apsdm doctor'"
            )
    with _step(progress, "Archive"):
        return _archived(session, uid)


def _archived(session: Session, uid: str) -> Record:
    deadline = time.monotonic() + _ARCHIVE_TIMEOUT_S
    while time.monotonic() < deadline:
        record: Record | None = session.archive.get(uid)
        if record is not None and (record.state in _SETTLED or record.needs_person):
            return record
        time.sleep(0.1)
    raise AcquisitionError(
        f"run {uid}: not archived within {_ARCHIVE_TIMEOUT_S:g} s; see 'apsdm agent --status'"
    )


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
