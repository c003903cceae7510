"""Follow a DAQ or an upload until it has ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from apsdm_bluesky.agent import agent_runs
from apsdm_bluesky.daq import ACTIVE, Daq, DaqStore, FileState, counts_text, not_taken, seen
from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.texts import plain, shortened, size_text

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig

_POLL_S = 0.3
_LOOK_FOR_AGENT_S = 5.0
_SAY_S = 5.0  # between two lines where no terminal shows them
_REASON = 60
_LOOKED_AT = 20  # of the files that wait


def follow(settings: "BeamlineConfig", store: DaqStore, uid: str, *, quiet: bool = False) -> Daq:
    """The DAQ or upload when it has ended; a bar on a terminal, else lines, unless `quiet`.

    Raises
    ------
    ApsdmError
        No agent runs; it is kept.
    """
    looked = float("-inf")
    with _going_on(uid), _Told(quiet=quiet) as told:
        while True:
            asked = time.monotonic()
            daq = store.get(uid)
            told.tell(daq, _what_waits(store, daq))
            if daq.state not in ACTIVE:
                return daq
            if asked - looked > _LOOK_FOR_AGENT_S:
                _check_agent(settings, daq)
                looked = asked
            took = time.monotonic() - asked
            time.sleep(max(_POLL_S, took))  # of a million files the counts take a second


class _Told:
    """What has been told of one."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files"))
        self._bar = Progress(
            *columns,
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._quiet = quiet
        self._lines = not quiet and not console.is_terminal
        self._task: TaskID | None = None
        self._last = ""
        self._said = float("-inf")
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> "_Told":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, daq: Daq, waits: str) -> None:
        """Show where it stands now, and which file waits for what."""
        if self._lines:
            self._say(daq, waits)
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=None, rate="")
        counts = daq.counts
        why = f" ({shortened(daq.reason, _REASON)})" if daq.reason else ""
        problems = f", {not_taken(counts)} not taken" if not_taken(counts) else ""
        why_not = shortened(waits, _REASON)
        self._bar.update(
            self._task,
            description=f"{daq.kind} {daq.id[:8]} {daq.state}{why}",
            completed=seen(counts) - counts.waiting,
            total=seen(counts) or None,
            rate=f"{size_text(counts.bytes)}, {size_text(self._rate(counts.bytes))}/s{problems}{why_not}",
        )

    def _say(self, daq: Daq, waits: str) -> None:
        """One line where something changed, and not too often."""
        why = f" ({daq.reason})" if daq.reason else ""
        line = plain(f"{daq.kind} {daq.id[:8]} {daq.state}{why}: {counts_text(daq.counts)}{waits}")
        due = time.monotonic() - self._said > _SAY_S or daq.state not in ACTIVE
        if line != self._last and due:
            self._last, self._said = line, time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def _rate(self, taken: int) -> float:
        """Bytes a second since this began to follow."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, taken)
        since, before = self._began
        return (taken - before) / (now - since) if now > since else 0.0


def _what_waits(store: DaqStore, daq: Daq) -> str:
    """The first file that waits for something, and for what; '' where none does."""
    if daq.state not in ACTIVE or not daq.counts.waiting:
        return ""
    waiting = store.files(daq.id, states=(FileState.WAITING,), limit=_LOOKED_AT)
    return next((f"; {one.name} waits: {one.reason}" for one in waiting if one.reason), "")


def _check_agent(settings: "BeamlineConfig", daq: Daq) -> None:
    """Refuse to wait for nobody."""
    if not agent_runs(settings):
        raise ApsdmError(
            f"{daq.kind} {daq.id} is kept, but no agent runs here to do it; "
            "start one with 'apsdm agent' or 'apsdm up'"
        )


@contextmanager
def _going_on(uid: str) -> Iterator[None]:
    """Ctrl-C ends the waiting, not the work."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"apsdm: the agent goes on with {uid}; see 'apsdm daq show {uid[:8]} --follow'", file=sys.stderr
        )
        raise
