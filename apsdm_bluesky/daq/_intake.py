"""One DAQ or upload at work: what is new in its folder, what is whole, and what came of it."""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ._changes import covers, ended_as, ino_of, known_by, last_by, waits, waits_again, was_there
from ._copier import Place
from ._copy import Copied, Order
from ._daq import Daq, FileState
from ._outcomes import Settled, is_stale, settle
from ._pool import CopyPool, Outcome
from ._scan import Odd, Seen, scan
from ._settings import Settings
from ._settling import Settling
from ._source import OddFileError, Source
from ._wants import Wants
from ._watch import on_shared
from ._work import Change, Last, WorkStore

_TAKEN = (FileState.STORED, FileState.CATALOGUED)
_RETRY = 30  # a file that could not be taken is tried again after so many times what one has to rest
_CLOCK_TICK_S = 0.01  # the times in a file system go in steps
_TARGET_RETRY_S = 5.0  # at most: an experiment that cannot be written is tried again so often
_TARGET_RETRY = 10  # ... or after so many times what a file has to rest
_AGAIN_S, _LONGEST_AGAIN_S = 0.05, 30.0
_AT_ONCE = 1000


class Intake:
    """Brings the files of one DAQ into its experiment. Its thread looks; the pool's threads copy and keep.

    Parameters
    ----------
    settling
        Tells which files nobody changes any more.
    """

    def __init__(
        self,
        daq: Daq,
        source: Source,
        *,
        work: WorkStore,
        pool: CopyPool,
        settling: Settling,
        settings: Settings,
    ) -> None:
        options = daq.options
        self._daq = daq
        self._work = work
        self._pool = pool
        self._settling = settling
        self.source = source
        self.target = daq.root
        # What stays where it is is known by its real path, as links to the experiment may change.
        real = options.skip_transfer
        self._data = Path(os.path.realpath(daq.root / "data")) if real else daq.root / "data"
        self.place = Place(
            source=daq.source,
            pinned=source.root.place,
            data=self._data,
            incoming=incoming_folder(daq),
            in_place=options.skip_transfer,
            hashes=not options.skip_checksum,
            rules=dict(settings.rules),
        )
        self._base = str(self._data / options.destination)
        self._numbered = not on_shared(source)  # elsewhere a file's number may change by itself
        self._wants = Wants(options.include, options.exclude, hidden=options.hidden)
        self._lock = threading.Lock()  # of what follows: the keeper's thread changes it, too
        self._known = work.known(daq.id)
        # By name: when it is due, and how it was seen, where that was just now.
        self._waiting: dict[str, tuple[float, Seen | None]] = {
            name: (0.0, None) for name, known in self._known.items() if known.state is FileState.WAITING
        }
        self._flying: set[str] = set()
        self._retry: dict[str, float] = {}
        self._why: dict[str, str] = {}  # what is not whole of those that wait, as the database has it
        self._disturbed: set[str] = set()
        self._tries: dict[str, int] = {}
        self._blocked: set[str] = set()  # those that wait for the experiment's folder to be mended
        self._hindered = ""
        self._find_others()

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is being copied."""
        with self._lock:
            return not self._waiting and not self._flying

    @property
    def flying(self) -> bool:
        """Whether something is being copied."""
        with self._lock:
            return bool(self._flying)

    def look(self, folders: Iterable[str] | None) -> None:
        """Find what is new or was changed, in some folders, or everywhere (None).

        Raises
        ------
        OSError
            The folder cannot be read.
        """
        fresh: list[Seen] = []
        failed = self._failed() if folders is None else set()
        for found in self._found(folders):
            failed.discard(found.name)
            if isinstance(found, Odd):
                self._pass_over(found)
            elif self._is_new(found):
                fresh.append(found)
            if len(fresh) == _AT_ONCE:
                self._enter(fresh)
                self.offer()  # the first ones are copied while the last are looked for
                fresh = []
        self._enter(fresh)
        for name in failed:
            self._forget_folder(name)

    def offer(self) -> None:
        """Have taken what is whole by now."""
        now = time.monotonic()
        with self._lock:
            due = [(name, seen) for name, (when, seen) in self._waiting.items() if when <= now]
        gone = [name for name, seen in due if not self._offer(name, seen, now)]
        self._end([(name, FileState.VANISHED, "it was gone before it was taken") for name in gone])

    def pause(self, longest: float) -> float:
        """Seconds until something waits no longer, at most `longest`."""
        with self._lock:
            first = min((when for when, _ in self._waiting.values()), default=None)
        return longest if first is None else min(longest, max(first - time.monotonic(), 0.0))

    def give_up(self, reason: str) -> None:
        """Those that are not whole are not taken; what is hindered by the target goes on waiting."""
        with self._lock:
            waiting = [name for name in self._waiting if name not in self._blocked]
        why = {name: f"{reason}: {self._why[name]}" for name in waiting if name in self._why}
        self._end([(name, FileState.FAILED, why.get(name, reason)) for name in waiting])

    def abandon(self) -> None:
        """Copy nothing more; what is being copied is given up within moments: see `flying`."""
        dropped = self._pool.drop(self)
        with self._lock:
            self._flying.difference_update(order.seen.name for order in dropped)

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of some files, which are on the disk."""
        settled = settle(outcomes, self._known, self._held)
        disturbed = [each for each in settled.disturbed if each[0] not in self._disturbed]
        self._work.apply(self._daq.id, settled.changes, [*settled.notices, *disturbed])
        self._disturbed.update(name for name, _ in disturbed)
        self._explain(settled.incomplete)
        names = {outcome.order.seen.name for outcome in outcomes}
        self._tell_hindered(settled.hindered, self._blocked - names | set(settled.blocked))
        self._learn(settled)

    def _tell_hindered(self, reason: str, blocked: set[str]) -> None:
        """Some files may be small enough for a disk that is full for others: then it is told still."""
        now = (reason or self._hindered) if blocked else ""
        if now != self._hindered:
            self._work.hinder(self._daq.id, now)
            self._hindered = now

    def _held(self, order: Order, copied: Copied) -> Last | None:
        """What the database knows of a file that lies there already."""
        place = f"{self.place.data}/{copied.path}"
        if not copied.was_there and place not in self._pool.claimed:
            return None
        held = self._work.holder(order.base, copied.path)
        if held is None:
            self._pool.claimed.add(place)
            return None
        own = order.last is not None and order.last.own and order.last.path == copied.path
        return held if own or covers(held, self._daq) else None

    def _explain(self, incomplete: Sequence[tuple[str, str]]) -> None:
        new = [(name, why) for name, why in incomplete if self._why.get(name) != why]
        self._work.explain(self._daq.id, new)
        self._why.update(new)

    def _find_others(self) -> None:
        """Versions of other DAQs, for files that have waited since before this process began."""
        bases = {name: self._base_of(name) for name in self._waiting if self._known[name].last is None}
        others = self._work.taken(list(bases.values()))
        for name, base in bases.items():
            if base in others:
                self._known[name] = replace(self._known[name], last=others[base])

    def _failed(self) -> set[str]:
        with self._lock:
            return {name for name, known in self._known.items() if known.state is FileState.FAILED}

    def _forget_folder(self, name: str) -> None:
        """A folder that could not be read and now can: what is in it counts, and it itself does not."""
        try:
            self.source.folder(name)
        except (OSError, OddFileError):
            return
        self._work.forget(self._daq.id, name)
        with self._lock:
            del self._known[name]

    def _found(self, folders: Iterable[str] | None) -> Iterator[Seen | Odd]:
        if folders is None:
            yield from scan(self.source, self._wants)
            return
        for folder in folders:
            yield from scan(self.source, self._wants, folder, recursive=False)

    def _is_new(self, seen: Seen) -> bool:
        with self._lock:
            known, flying = self._known.get(seen.name), seen.name in self._flying
        if known is None:
            return self._daq.options.existing or seen.ctime_ns / 1e9 >= self._daq.created - _CLOCK_TICK_S
        if flying or known.state is FileState.WAITING:
            return False  # looked at when it is due
        if known.state is FileState.FAILED and self._retry.get(seen.name, 0.0) > time.monotonic():
            return False
        ended = known.state not in _TAKEN
        # A file that takes another one's name has a number of its own, even if it has its time.
        other = self._numbered and ino_of(seen) != known.ino
        return ended or other or (seen.size, seen.mtime_ns) != (known.size, known.mtime_ns)

    def _enter(self, fresh: Sequence[Seen]) -> None:
        """Files that are to be taken: known to the database before anything is done with them."""
        if not fresh:
            return
        revived = [seen for seen in fresh if self._ended(seen.name)]
        new = [seen for seen in fresh if not self._ended(seen.name)]
        bases = {seen.name: self._base_of(seen.name) for seen in new}
        others = self._work.taken([bases[seen.name] for seen in new if seen.name not in self._known])
        changes = [self._change(seen, others.get(bases[seen.name])) for seen in new]
        self._work.add(self._daq.id, changes, bases)
        self._work.revive(self._daq.id, [seen.name for seen in revived])
        with self._lock:
            for change, last in ((change, others.get(bases[change.name])) for change in changes):
                before = self._known.get(change.name)
                self._known[change.name] = known_by(change, before.last if before else last)
            for seen in revived:
                self._known[seen.name] = waits_again(seen, self._known[seen.name])
            self._waiting.update(
                (seen.name, (0.0, seen))
                for seen in fresh
                if self._known[seen.name].state is FileState.WAITING
            )

    def _ended(self, name: str) -> bool:
        """Whether it has a row that is to be used again: it was gone, or could not be taken."""
        known = self._known.get(name)
        return known is not None and known.state not in _TAKEN

    def _change(self, seen: Seen, other: Last | None) -> Change:
        known = self._known.get(seen.name)
        if known is None and other is not None and self._is_last(seen, other):
            return was_there(seen, other, self._daq)
        return waits(seen, known, other)

    def _is_last(self, seen: Seen, last: Last) -> bool:
        """Whether a file is the one that was taken last, and that is still there."""
        same = (last.size, last.mtime_ns, last.ino) == (seen.size, seen.mtime_ns, ino_of(seen))
        hashed = last.sha256 is not None or self._daq.options.skip_checksum
        if not same or not hashed or last.source != f"{self._daq.source}/{seen.name}":
            return False
        try:
            return (self.place.data / last.path).lstat().st_size == last.size
        except OSError:
            return False

    def _offer(self, name: str, seen: Seen | None, now: float) -> bool:
        """Have it taken if nobody changes it any more; False where it is gone."""
        try:
            seen = seen or self._looked_at(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OddFileError as error:
            self._end([(name, FileState.SKIPPED, error.reason)])
            return True
        except OSError as error:
            self._refuse(name, error, now)
            return True
        verdict = self._settling.judge(seen, now=now, clock=time.time())
        with self._lock:
            if not verdict.settled:
                self._waiting[name] = now + verdict.again_s, None
                return True
            del self._waiting[name]
            self._flying.add(name)
            last = self._known[name].last
        self._pool.put(self, Order(seen, self._base_of(name), last, verdict.forgive))
        return True

    def _refuse(self, name: str, error: OSError, now: float) -> None:
        if is_stale(error):
            with self._lock:
                self._waiting[name] = now + self._settling.settle_s, None
        else:
            self._end([(name, FileState.FAILED, f"cannot be read: {error.strerror or error}")])

    def _looked_at(self, name: str) -> Seen:
        info = self.source.stat(name)
        return Seen(name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def _pass_over(self, odd: Odd) -> None:
        with self._lock:
            known = self._known.get(odd.name)
        if known is not None:
            return
        state = FileState.FAILED if odd.unreadable else FileState.SKIPPED
        change = Change(name=odd.name, state=state, size=0, mtime_ns=0, reason=odd.reason)
        self._work.add(self._daq.id, [change], {odd.name: self._base_of(odd.name)})
        with self._lock:
            self._known[odd.name] = known_by(change, None)

    def _end(self, ended: Sequence[tuple[str, FileState, str]]) -> None:
        """Files that waited and are not taken."""
        changes = [ended_as(name, self._known[name], state, reason) for name, state, reason in ended]
        if not changes:
            return
        self._work.apply(self._daq.id, changes)
        self._tell_hindered("", self._blocked - {name for name, _, _ in ended})
        self._learn(Settled(changes=changes))

    def _learn(self, settled: Settled) -> None:
        now = time.monotonic()
        with self._lock:
            for change in settled.changes:
                before = self._known[change.name]
                last = last_by(change) if change.state in _TAKEN else before.last
                self._known[change.name] = known_by(change, last)
                self._flying.discard(change.name)
                self._waiting.pop(change.name, None)
                self._blocked.discard(change.name)
                self._settling.forget(change.name)
                self._why.pop(change.name, None)
                self._disturbed.discard(change.name)
                self._tries.pop(change.name, None)
                if change.state is FileState.FAILED:
                    self._retry[change.name] = now + _RETRY * self._settling.settle_s
            for name in settled.again:
                self._wait_again(name, now)
            for names, pause in (
                (settled.blocked, min(_TARGET_RETRY_S, _TARGET_RETRY * self._settling.settle_s)),
                ([name for name, _ in settled.incomplete], self._settling.settle_s),
            ):
                self._flying.difference_update(names)
                self._blocked.difference_update(names)
                self._waiting.update((name, (now + pause, None)) for name in names)
            self._blocked.update(settled.blocked)

    def _wait_again(self, name: str, now: float) -> None:
        """Later each time: where a file is never twice the same, nobody is to be kept busy by it."""
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        self._flying.discard(name)
        self._blocked.discard(name)
        self._waiting[name] = now + min(_AGAIN_S * 2.0**tries, _LONGEST_AGAIN_S), None

    def _base_of(self, name: str) -> str:
        """Where its first version lies; a name that is no path any more is never taken."""
        if self._daq.options.skip_transfer:
            return str(self.source.real / name if self.source.single is None else self.source.real)
        return f"{self._base}/{name}"


def incoming_folder(daq: Daq) -> Path:
    """Where files of an experiment lie that are not whole yet."""
    return daq.root / ".incoming"
