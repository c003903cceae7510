"""A process that copies: given some files at a time through a pipe, it answers what came of each.

Small files cost Python more than the disk; processes share no interpreter's lock.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from ._content import Rule
from ._copy import Answer, Copier, NotTakenError, Order
from ._source import OddFileError, Source
from ._target import TargetError

_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1
_IDLE_S = 5.0


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
            if not pipe.poll(_IDLE_S):
                worker.leave()
            place, orders = pipe.recv()
        except EOFError:
            return
        pipe.send(worker.answers(place, orders))


class _Worker:
    """Takes files of the place that it was told last."""

    def __init__(self, name: str, should_stop: Callable[[], bool]) -> None:
        self._name = name
        self._should_stop = should_stop
        self._place: Place | None = None
        self._source: Source | None = None
        self._copier: Copier | None = None

    def answers(self, place: Place, orders: Sequence[Order]) -> Sequence[Answer]:
        try:
            source, copier = self._at(place)
        except (NotTakenError, TargetError, OddFileError) as error:
            return [error] * len(orders)
        return copier.take(source, orders)

    def _at(self, place: Place) -> tuple[Source, Copier]:
        if self._source is None or self._copier is None or place != self._place:
            self.leave()
            source = _opened(place.source)
            if source.root.place != place.pinned:
                source.close()
                raise NotTakenError("the folder was replaced by another one")
            self._source = source
            self._copier = Copier(
                place.data,
                place.incoming,
                self._name,
                in_place=place.in_place,
                hashes=place.hashes,
                rules=place.rules,
                should_stop=self._should_stop,
            )
            self._place = place
        return self._source, self._copier

    def leave(self) -> None:
        """Hold nothing open, so that disks can be unmounted."""
        if self._source is not None:
            self._source.close()
        if self._copier is not None:
            self._copier.close()
        self._source, self._copier, self._place = None, None, None


def _opened(path: Path) -> Source:
    """The watched folder; that it cannot be opened says nothing about the files in it."""
    try:
        return Source(path)
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror or error}") from error
