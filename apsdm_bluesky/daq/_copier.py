"""A process that copies: given some files at a time through a pipe, it answers what came of each.

Small files cost Python more than the disk; processes share no interpreter's lock.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from ._content import Rule
from ._copy import Copied, Copier, IncompleteError, NotTakenError, StoppedError
from ._part import TargetError, UnplaceableError
from ._scan import Seen
from ._source import OddFileError, Source
from ._work import Last

log = logging.getLogger(__name__)

_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files of one DAQ are read and written, as a copying process is told.

    Parameters
    ----------
    source, pinned
        The watched folder, and which one that was when it was opened (device, inode).
    data, incoming
        The experiment's data, and where files lie that are not whole yet.
    """

    source: Path
    pinned: tuple[int, int]
    data: Path
    incoming: Path
    in_place: bool
    hashes: bool
    rules: dict[str, Rule]


@dataclass(frozen=True, slots=True)
class Order:
    """One file to be taken.

    Parameters
    ----------
    base
        Where its first version lies, absolute.
    last
        The last version that was taken for that place.
    forgive
        Whether it is taken even if its content is not whole: nobody has changed it for very long.
    """

    seen: Seen
    base: str
    last: Last | None
    forgive: bool


Answer = Copied | Exception
"""What came of it: it was taken, or why not."""


class CopyProcess:
    """One such process; started by a process that has no other thread yet, it dies with it."""

    def __init__(self, name: str, others: Sequence["CopyProcess"]) -> None:
        self.pipe, child = _FORK.Pipe()
        self._give_up = _FORK.Event()
        inherited = [self.pipe, *(other.pipe for other in others)]
        args = (child, inherited, self._give_up, name, os.getpid())
        self._process = _FORK.Process(target=_run, args=args, name=name, daemon=True)
        self._process.start()
        child.close()

    def take(self, place: Place, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have some files taken. One thread at a time.

        Raises
        ------
        EOFError, OSError
            The process is gone.
        """
        self.pipe.send((place, orders))
        answers: Sequence[Answer] = self.pipe.recv()
        self._give_up.clear()
        return answers

    def give_up(self) -> None:
        """What it is at is given up within moments; from any thread."""
        self._give_up.set()


def _run(pipe: Connection, inherited: Sequence[Connection], give_up: Event, name: str, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for connection in inherited:  # else they would keep each other's pipes open
        connection.close()
    worker = _Worker(name, give_up.is_set)
    while True:
        try:
            place, orders = pipe.recv()
        except EOFError:
            return
        pipe.send([worker.answer(place, order) for order in orders])


class _Worker:
    """Takes files of the place that it was told last."""

    def __init__(self, name: str, should_stop: Callable[[], bool]) -> None:
        self._name = name
        self._should_stop = should_stop
        self._place: Place | None = None
        self._source: Source | None = None
        self._copier: Copier | None = None

    def answer(self, place: Place, order: Order) -> Answer:
        if self._should_stop():
            return StoppedError()
        try:
            source, copier = self._at(place)
            take = copier.take_in_place if place.in_place else copier.take
            return take(source, order.seen, order.base, order.last, forgive=order.forgive)
        except _EXPECTED as error:
            return error
        except Exception as error:  # a defect of ours: the others go on, and it is told of this one
            log.exception("%s", order.seen.name)
            return UnplaceableError(f"a defect: {type(error).__name__}: {error}")

    def _at(self, place: Place) -> tuple[Source, Copier]:
        if self._source is None or self._copier is None or place != self._place:
            self._leave()
            source = _opened(place.source)
            if source.root.place != place.pinned:
                source.close()
                raise NotTakenError("the folder was replaced by another one")
            self._source = source
            self._copier = Copier(
                place.data,
                place.incoming,
                self._name,
                hashes=place.hashes,
                rules=place.rules,
                should_stop=self._should_stop,
            )
            self._place = place
        return self._source, self._copier

    def _leave(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source, self._copier, self._place = None, None, None


def _opened(path: Path) -> Source:
    """The watched folder; that it cannot be opened says nothing about the files in it."""
    try:
        return Source(path)
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror or error}") from error


_EXPECTED: tuple[type[Exception], ...] = (
    OSError,
    OddFileError,
    IncompleteError,
    NotTakenError,
    UnplaceableError,
    TargetError,
    StoppedError,
)
