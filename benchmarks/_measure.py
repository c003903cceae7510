"""Take the samples, side by side, and sum them up."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ._bench import Bench, Race, Sample, Target

OURS = "apsdm-bluesky"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """The samples of one side of a race, in the order of the rounds.

    Parameters
    ----------
    ratio
        Median over the rounds of ours / this side, both of the same round; None for ours, and where this
        side measured 0.
    """

    name: str
    samples: Sequence[Sample]
    ratio: float | None

    @property
    def values(self) -> list[float]:
        return [sample.value for sample in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def extra(self) -> dict[str, float]:
        """The largest of each extra over the samples."""
        names = dict.fromkeys(name for sample in self.samples for name in sample.extra)
        return {name: max(sample.extra.get(name, 0) for sample in self.samples) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """A race and its sides, ours first."""

    race: Race
    sides: Sequence[SideResult]

    def reached(self, target: Target) -> bool:
        """Whether ours reached a target of the race."""
        ours = self.sides[0]
        if target.by == "ratio":
            ratios = [side.ratio for side in self.sides if side.name == target.of]
            judged = [ratio for ratio in ratios if ratio is not None]
        else:
            judged = [ours.median] if target.by == "median" else list(ours.values)
        if not judged:
            return False
        if self.race.better == "higher":
            return min(judged) >= target.limit
        return max(judged) <= target.limit


def measure(
    bench: Bench, repeats: int, progress: Callable[[int, str, str], None] = lambda *_: None
) -> list[RaceResult]:
    """Run every side once a round. Every second round goes backwards, so that none always comes first.

    Parameters
    ----------
    progress
        Called before each sample with the round (from 1), the race's and the side's name.
    """
    turns = [(race, name, side) for race in bench.races for name, side in _sides(race).items()]
    samples: dict[tuple[str, str], list[Sample]] = {(race.name, name): [] for race, name, _ in turns}
    for number in range(1, repeats + 1):
        for race, name, side in turns if number % 2 else reversed(turns):
            if number > race.rounds.get(name, repeats):
                continue
            progress(number, race.name, name)
            samples[race.name, name].append(side())
    return [
        RaceResult(race=race, sides=_results(race, {name: samples[race.name, name] for name in _sides(race)}))
        for race in bench.races
    ]


def _sides(race: Race) -> dict[str, Callable[[], Sample]]:
    return {OURS: race.ours, **race.peers}


def _results(race: Race, samples: Mapping[str, Sequence[Sample]]) -> list[SideResult]:
    return [
        SideResult(
            name=name,
            samples=samples[name],
            ratio=None if name == OURS else ratio(samples[OURS], samples[name]),
        )
        for name in _sides(race)
    ]


def ratio(ours: Sequence[Sample], peer: Sequence[Sample]) -> float | None:
    """Median of ours / peer, round by round: what slowed the machine down for a round slowed both.

    A peer that took part in the first rounds only is compared with ours of these.
    """
    if any(sample.value == 0 for sample in peer):
        return None
    return statistics.median(a.value / b.value for a, b in zip(ours, peer, strict=False))
