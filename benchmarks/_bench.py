"""What a bench is made of."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement.

    Parameters
    ----------
    value
        The figure, in the race's unit.
    extra
        What else is worth knowing of it, by name: lost frames, for instance.
    """

    value: float
    extra: Mapping[str, float] = field(default_factory=dict)


Measure = Callable[[], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What ours has to reach: as its median, with each of its samples, or as the ratio to the peer `of`."""

    limit: float
    by: Literal["median", "every sample", "ratio"] = "median"
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """The same work done by ours and by its peers; each call of a side takes one sample.

    Parameters
    ----------
    rounds
        How many rounds a slow peer takes part in, by its name: the first ones. All others run in each.
    """

    name: str
    unit: str
    ours: Measure
    peers: Mapping[str, Measure]
    better: Literal["higher", "lower"] = "higher"
    targets: Sequence[Target] = ()
    rounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a bench module yields.

    Parameters
    ----------
    races
        Run one after the other in each round, so that all sides see the same state of the machine.
    packages
        Names of the distributions whose versions matter.
    repeats
        Rounds, unless other are asked for.
    notes
        Told below the table: how the sides were set up, what could not be measured.
    """

    races: Sequence[Race]
    packages: Sequence[str]
    repeats: int = 5
    notes: Sequence[str] = ()


BenchFactory = Callable[[], AbstractContextManager[Bench]]
