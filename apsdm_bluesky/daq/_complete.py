"""When a file is complete: nobody changed it for a while, and its content is whole.

How long it has been as it is, is measured by this machine's monotonic clock from when it was first seen so:
times in a file system may be another machine's, in the future, or set by whoever copied it. One short cut:
what was last changed long ago, by all its times, is taken at once, or an upload of old files would wait for
nothing. Long is five minutes more than asked for, which clocks may differ by.

Copies that keep times: `cp -p`, `tar` and `rsync` set the time of modification to an old one when they have
written a file (rsync under a hidden name), a Windows client may do so before. So the time of change (ctime)
must be old as well, which nobody can set: such a copy waits as a new file does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ._content import CHANGED, Rule, rule_for, why_incomplete
from ._scan import Seen
from ._source import Source

GIVE_UP_S = 600.0
_CLOCKS_DIFFER_S = 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file can be taken.

    Parameters
    ----------
    complete
        It can.
    reason
        Why not yet; of one that is taken although its content is not whole: what is wrong with it.
    again_s
        Of one that is not complete: when to look at it again [s].
    """

    complete: bool
    reason: str = ""
    again_s: float = 0.0


class Settling:
    """How long files have been as they are. Pure: clocks are passed in."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[tuple[int, int, int, int], float]] = {}

    def unchanged_s(self, seen: Seen, *, now: float, clock: float) -> float:
        """Since when nobody has changed a file, as far as that is sure [s].

        Parameters
        ----------
        now
            A monotonic clock [s].
        clock
            The time [s since the Unix epoch].
        """
        state = seen.size, seen.mtime_ns, seen.ctime_ns, seen.ino
        known = self._since.get(seen.name)
        if known is None or known[0] != state:
            known = self._since[seen.name] = state, now
        # A time in the future says nothing: then what was seen here counts.
        aged = clock - max(seen.mtime_ns, seen.ctime_ns) / 1e9 - _CLOCKS_DIFFER_S
        return max(now - known[1], aged, 0.0)

    def forget(self, name: str) -> None:
        """It was taken, or is gone."""
        self._since.pop(name, None)

    def __len__(self) -> int:
        return len(self._since)


class Completeness:
    """Judges files of one watched folder.

    Parameters
    ----------
    settle_s
        A file must not have been changed for so long [s].
    rules
        What else must hold, by pattern; see `rule_for`.
    give_up_s
        A file whose content is not whole, and that nobody has changed for so long, is taken as it is: its
        writer has died [s].
    """

    def __init__(
        self,
        settle_s: float,
        rules: Mapping[str, Rule] = MappingProxyType({}),
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._settle_s = settle_s
        self._rules = rules
        self._give_up_s = max(give_up_s, settle_s)
        self._settling = Settling()

    def judge(self, source: Source, seen: Seen, *, now: float, clock: float) -> Verdict:
        """Whether a file, as it was seen just now, is complete.

        Parameters
        ----------
        now
            A monotonic clock [s].
        clock
            The time [s since the Unix epoch].

        Raises
        ------
        OSError, OddFileError
            As `Source.open`: it is gone, cannot be read, or became a link.
        """
        unchanged = self._settling.unchanged_s(seen, now=now, clock=clock)
        if unchanged < self._settle_s:
            reason = f"it was changed less than {self._settle_s:g} s ago"
            return Verdict(False, reason, self._settle_s - unchanged)
        why = why_incomplete(source, seen, rule_for(seen.name, self._rules))
        if why is None:
            return Verdict(True)
        left = self._give_up_s - unchanged
        if left > 0 or why == CHANGED:
            return Verdict(False, why, min(self._settle_s, left) if left > 0 else self._settle_s)
        return Verdict(True, f"taken as it is, unchanged for {self._give_up_s:g} s: {why}")

    def forget(self, name: str) -> None:
        """It was taken, or is gone: nothing more is known of it."""
        self._settling.forget(name)
