"""One DAQ or upload at work: what is new in its folder, what is whole, and what came of it."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ._copier import Order, Place
from ._daq import Daq, FileState
from ._outcomes import Settled, settle
from ._pool import CopyPool, Outcome
from ._scan import Odd, Seen, scan
from ._settings import Settings
from ._settling import Settling
from ._source import OddFileError, Source
from ._wants import Wants
from ._work import Change, Known, Last, WorkStore

_TAKEN = (FileState.STORED, FileState.CATALOGUED)
_RETRY_S = 60.0  # a file that could not be taken is tried again so often
_TARGET_RETRY_S = 5.0
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
        self._data = daq.root / "data"
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
        self._wants = Wants(options.include, options.exclude, hidden=options.hidden)
        self._lock = threading.Lock()  # of what follows: the keeper's thread changes it, too
        self._known = work.known(daq.id)
        # By name: when it is due, and how it was seen, where that was just now.
        self._waiting: dict[str, tuple[float, Seen | None]] = {
            name: (0.0, None) for name, known in self._known.items() if _waits(known)
        }
        self._flying: set[str] = set()
        self._retry: dict[str, float] = {}
        self._hindered = ""

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
        for found in self._found(folders):
            if isinstance(found, Odd):
                self._skip(found)
            elif self._is_new(found):
                fresh.append(found)
            if len(fresh) == _AT_ONCE:
                self._enter(fresh)
                self.offer()  # the first ones are copied while the last are looked for
                fresh = []
        self._enter(fresh)

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
            waiting = [] if self._hindered else list(self._waiting)
        self._end([(name, FileState.FAILED, reason) for name in waiting])

    def abandon(self) -> None:
        """Copy nothing more; what is being copied is given up within moments: see `flying`."""
        dropped = self._pool.drop(self)
        with self._lock:
            self._flying.difference_update(order.seen.name for order in dropped)

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of some files, which are on the disk."""
        settled = settle(outcomes, self._known, self._work.holder)
        self._work.apply(self._daq.id, settled.changes)
        self._work.tell(self._daq.id, settled.notices)
        if settled.hindered != self._hindered:
            self._work.hinder(self._daq.id, settled.hindered)
            self._hindered = settled.hindered
        self._learn(settled)

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
            return self._daq.options.existing or seen.ctime_ns >= self._daq.created * 1e9
        if flying or known.state is FileState.WAITING:
            return False  # looked at when it is due
        if known.state is FileState.FAILED and self._retry.get(seen.name, 0.0) > time.monotonic():
            return False
        ended = known.state not in _TAKEN
        return ended or (seen.size, seen.mtime_ns) != (known.size, known.mtime_ns)

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
                self._known[change.name] = _known(change, before.last if before else last)
            for seen in revived:
                before = self._known[seen.name]
                self._known[seen.name] = Known(
                    FileState.WAITING, seen.size, seen.mtime_ns, before.version, before.last
                )
            self._waiting.update((seen.name, (0.0, seen)) for seen in fresh if _waits(self._known[seen.name]))

    def _ended(self, name: str) -> bool:
        """Whether it has a row that is to be used again: it was gone, or could not be taken."""
        known = self._known.get(name)
        return known is not None and known.state not in _TAKEN

    def _change(self, seen: Seen, other: Last | None) -> Change:
        known = self._known.get(seen.name)
        last = known.last if known is not None else other
        if known is None and last is not None and (last.size, last.mtime_ns) == (seen.size, seen.mtime_ns):
            return Change(
                name=seen.name,
                state=FileState.CATALOGUED,
                size=seen.size,
                mtime_ns=seen.mtime_ns,
                version=last.version,
                path=last.path,
                sha256=last.sha256,
                run=last.run,
                reason="was there already",
            )
        version = max(1 if last is None else last.version + 1, 1 if known is None else known.version + 1)
        return Change(
            name=seen.name, state=FileState.WAITING, size=seen.size, mtime_ns=seen.mtime_ns, version=version
        )

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
            self._end([(name, FileState.FAILED, f"cannot be read: {error.strerror or error}")])
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

    def _looked_at(self, name: str) -> Seen:
        info = self.source.stat(name)
        return Seen(name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def _skip(self, odd: Odd) -> None:
        known = self._known.get(odd.name)
        if known is not None and known.state is FileState.SKIPPED:
            return
        change = Change(name=odd.name, state=FileState.SKIPPED, size=0, mtime_ns=0, reason=odd.reason)
        if known is None:
            self._work.add(self._daq.id, [change], {odd.name: self._base_of(odd.name)})
            with self._lock:
                self._known[odd.name] = _known(change, None)

    def _end(self, ended: Sequence[tuple[str, FileState, str]]) -> None:
        """Files that waited and are not taken."""
        changes = [_ended_as(name, self._known[name], state, reason) for name, state, reason in ended]
        if not changes:
            return
        self._work.apply(self._daq.id, changes)
        self._learn(Settled(changes=changes))

    def _learn(self, settled: Settled) -> None:
        now = time.monotonic()
        with self._lock:
            for change in settled.changes:
                before = self._known[change.name]
                last = _last(change) if change.state in _TAKEN else before.last
                self._known[change.name] = _known(change, last)
                self._flying.discard(change.name)
                self._waiting.pop(change.name, None)
                self._settling.forget(change.name)
                if change.state is FileState.FAILED:
                    self._retry[change.name] = now + _RETRY_S
            for name in settled.again:
                self._flying.discard(name)
                self._waiting[name] = now + (_TARGET_RETRY_S if settled.hindered else 0.0), None
            for name, _ in settled.incomplete:
                self._flying.discard(name)
                self._waiting[name] = now + self._settling.settle_s, None

    def _base_of(self, name: str) -> str:
        """Where its first version lies; a name that is no path any more is never taken."""
        if self._daq.options.skip_transfer:
            return str(self.source.real / name if self.source.single is None else self.source.real)
        return f"{self._base}/{name}"


def incoming_folder(daq: Daq) -> Path:
    """Where files of an experiment lie that are not whole yet."""
    return daq.root / ".incoming"


def _waits(known: Known) -> bool:
    return known.state is FileState.WAITING


def _known(change: Change, last: Last | None) -> Known:
    return Known(change.state, change.size, change.mtime_ns, change.version, last)


def _last(change: Change) -> Last:
    return Last(
        change.version, change.path or "", change.size, change.mtime_ns, change.sha256, change.run, True
    )


def _ended_as(name: str, known: Known, state: FileState, reason: str) -> Change:
    return Change(
        name=name,
        state=state,
        size=known.size,
        mtime_ns=known.mtime_ns,
        version=known.version,
        reason=reason,
    )
