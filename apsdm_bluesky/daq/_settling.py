"""When nobody changes a file any more.

How long it has been as it is, is measured by this machine's monotonic clock from when it was first seen so:
times in a file system may be another machine's, in the future, or set by whoever copied it. One short cut:
what was last changed long ago, by all its times, is taken at once, or an upload of old files would wait for
nothing. Where other machines write, long is five minutes more than asked for, which clocks may differ by.

Copies that keep times: `cp -p`, `tar` and `rsync` set the time of modification to an old one when they have
written a file (rsync under a hidden name), a Windows client may do so before. So the time of change (ctime)
must be old as well, which nobody can set: such a copy waits as a new file does.
"""

from dataclasses import dataclass

from ._scan import Seen

GIVE_UP_S = 600.0
CLOCKS_DIFFER_S = 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file can be taken.

    Parameters
    ----------
    settled
        Nobody has changed it for long enough.
    again_s
        Of one that has not: when to look at it again [s].
    forgive
        Nobody has changed it for so long that it is taken even if its content is not whole.
    """

    settled: bool
    again_s: float = 0.0
    forgive: bool = False


class Settling:
    """How long files have been as they are. Pure: clocks are passed in.

    Parameters
    ----------
    settle_s
        A file must not have been changed for so long [s].
    clocks_differ_s
        What the clock of the file system may be ahead [s]; 0 where it is this machine's.
    give_up_s
        Whatever its content, a file that was not changed for so long is taken [s].
    """

    def __init__(
        self, settle_s: float, *, clocks_differ_s: float = CLOCKS_DIFFER_S, give_up_s: float = GIVE_UP_S
    ) -> None:
        self.settle_s = settle_s
        self._clocks_differ_s = clocks_differ_s
        self._give_up_s = max(give_up_s, settle_s)
        self._since: dict[str, tuple[tuple[int, int, int, int], float]] = {}

    def judge(self, seen: Seen, *, now: float, clock: float) -> Verdict:
        """Whether a file, as it was seen just now, has settled.

        Parameters
        ----------
        now
            A monotonic clock [s].
        clock
            The time [s since the Unix epoch].
        """
        unchanged = self._unchanged_s(seen, now, clock)
        if unchanged < self.settle_s:
            return Verdict(False, self.settle_s - unchanged)
        return Verdict(True, forgive=unchanged >= self._give_up_s)

    def forget(self, name: str) -> None:
        """It was taken, or is gone."""
        self._since.pop(name, None)

    def __len__(self) -> int:
        return len(self._since)

    def _unchanged_s(self, seen: Seen, now: float, clock: float) -> float:
        # A time in the future says nothing: then what was seen here counts.
        aged = clock - max(seen.mtime_ns, seen.ctime_ns) / 1e9 - self._clocks_differ_s
        if aged >= self._give_up_s:
            return aged
        state = seen.size, seen.mtime_ns, seen.ctime_ns, seen.ino
        known = self._since.get(seen.name)
        if known is None or known[0] != state:
            known = self._since[seen.name] = state, now
        return max(now - known[1], aged, 0.0)
