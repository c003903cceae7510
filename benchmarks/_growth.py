"""How the cost of a reduction grows with the length of the series and the size of the detector."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._bench import Measure, Race, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A part of the work, and how much of it there is."""

    amount: float
    run: Callable[[], object]


def growth(name: str, unit: str, *, whole: Work, parts: Mapping[str, Work]) -> Race:
    """The whole beside parts of it, in ns a unit of work: where the cost is linear, all ratios are 1."""
    return Race(
        name=name,
        unit=f"ns {unit}",
        better="lower",
        ours=_cost(whole),
        peers={part: _cost(work) for part, work in parts.items()},
    )


def _cost(work: Work) -> Measure:
    def sample() -> Sample:
        start = time.perf_counter()
        work.run()
        return Sample(value=(time.perf_counter() - start) / work.amount * 1e9)

    return sample
