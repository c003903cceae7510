"""Numbers of a stage that cannot be meant: times, counts and limits."""

import re
from collections.abc import Iterator

from ._definition import Parallel, Repeat, Retries, Stage
from ._variables import REFERENCE

_LONGEST_S = 366 * 86_400.0  # a year
_MOST = 1_000_000
_MOST_CHILDREN = 1_000
_MOST_RETRIES = 100
_LIST = re.compile(REFERENCE)
_GLOB = re.compile(r"[*?\[]")


def timing_faults(stage: Stage) -> Iterator[tuple[str, str]]:
    """The key and the message of each fault."""
    if stage.timeout_s is not None:
        yield from _within("timeout_s", stage.timeout_s, above=0, most=_LONGEST_S, unit="s")
    if stage.repeat is not None:
        yield from _repeat(stage.repeat)
    if stage.retries is not None:
        yield from _retries(stage.retries)
    if stage.parallel is not None:
        yield from _parallel(stage.parallel)
    if stage.repeat is not None and stage.parallel is not None:
        yield "repeat", "a stage cannot be repeated and parallel at once: split it into two"


def _repeat(repeat: Repeat) -> Iterator[tuple[str, str]]:
    yield from _within("repeat.period_s", repeat.period_s, least=0, most=_LONGEST_S, unit="s")
    yield from _within("repeat.maximum", repeat.maximum, least=1, most=_MOST)


def _retries(retries: Retries) -> Iterator[tuple[str, str]]:
    yield from _within("retries.count", retries.count, least=1, most=_MOST_RETRIES)
    yield from _within("retries.delay_s", retries.delay_s, least=0, most=_LONGEST_S, unit="s")
    yield from _within("retries.factor", retries.factor, least=1, most=_MOST)
    yield from _within("retries.longest_s", retries.longest_s, least=0, most=_LONGEST_S, unit="s")


def _parallel(parallel: Parallel) -> Iterator[tuple[str, str]]:
    yield from _within("parallel.limit", parallel.limit, least=1, most=_MOST_CHILDREN)
    if _LIST.fullmatch(parallel.over) is None and _GLOB.search(parallel.over) is None:
        yield (
            "parallel.over",
            f"{parallel.over!r} is neither $name nor a glob with *, ? or []: give one of them",
        )


def _within(
    key: str, value: float, *, most: float, least: float = 0, above: float | None = None, unit: str = ""
) -> Iterator[tuple[str, str]]:
    """Also refuses what is no number at all, as NaN."""
    low = value > above if above is not None else value >= least
    if not (low and value <= most):
        lower = f"more than {above:g}" if above is not None else f"at least {least:g}"
        shown = f"{value:g}" if -_MOST * _LONGEST_S < value < _MOST * _LONGEST_S else "huge"
        yield key, f"is {shown}: give {lower} and at most {most:.15g} {unit}".rstrip()
