"""Which runs share a bundle, and which files of a big run go into which: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._sources import SourceFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run with its analyses that waits for a bundle.

    Parameters
    ----------
    uids
        The run first.
    size
        Bytes of all files; None where they cannot be read: a bundle of its own will tell why.
    parts
        How many bundles it fills; more than one where it passes the target.
    since
        When it was requested [s since the Unix epoch].
    company
        Runs share a bundle only with those of the same collection and experiment.
    """

    uids: tuple[str, ...]
    size: int | None
    parts: int = 1
    since: float
    company: tuple[str, str | None]


def group(
    candidates: Iterable[Candidate], *, target: int, wait_s: float, now: float
) -> list[list[Candidate]]:
    """The groups that are to be bundled now, in the order of their first runs; the others wait.

    A group is full when one more run would pass `target` bytes, and due when its first run has waited
    `wait_s` seconds, or is that far ahead of a clock that was set back; where that is 0 nobody waits for
    company. A run of `target` bytes or more, or of unknown size, has a group of its own at once.
    """
    ready: list[list[Candidate]] = []
    open_groups: dict[tuple[str, str | None], list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda one: (one.since, one.uids)):
        if not wait_s or candidate.size is None or candidate.size >= target:
            ready.append([candidate])
            continue
        gathered = open_groups.setdefault(candidate.company, [])
        if gathered and _size(gathered) + candidate.size > target:
            ready.append(gathered)
            open_groups[candidate.company] = gathered = []
        gathered.append(candidate)
    due = [gathered for gathered in open_groups.values() if abs(now - gathered[0].since) >= wait_s]
    return sorted([*ready, *due], key=lambda gathered: (gathered[0].since, gathered[0].uids))


def parts_of(sources: Sequence[SourceFile], target: int) -> list[list[SourceFile]]:
    """The raw files of each part, in order: as many as fit `target` bytes, at least one.

    Files are never split: one of more than `target` bytes is a part of its own. Without files there is one
    empty part.
    """
    parts: list[list[SourceFile]] = [[]]
    filled = 0
    for source in sources:
        if parts[-1] and filled + source.size > target:
            parts.append([])
            filled = 0
        parts[-1].append(source)
        filled += source.size
    return parts


def _size(candidates: Iterable[Candidate]) -> int:
    return sum(candidate.size or 0 for candidate in candidates)
