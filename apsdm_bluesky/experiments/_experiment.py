"""What an experiment is."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExperiment:
    """An experiment that is to be.

    Parameters
    ----------
    name
        Letters, digits, `_`, `-` and `.`, a letter first: it names a folder.
    type
        The technique: 'XPCS'.
    proposal, esaf
        Their numbers in the facility's database.
    users
        Login names of those who take part.
    start, end
        First and last day.
    """

    name: str
    type: str = ""
    description: str = ""
    proposal: str | None = None
    esaf: str | None = None
    users: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(NewExperiment):
    """An experiment of a station.

    Parameters
    ----------
    id
        A number, from 1.
    root
        Its folder.
    created, updated
        Seconds since the Unix epoch.
    """

    id: int
    station: str
    root: Path
    created: float
    updated: float

    @property
    def data(self) -> Path:
        """Raw data: nothing in it is changed."""
        return self.root / "data"

    @property
    def analysis(self) -> Path:
        """Results."""
        return self.root / "analysis"

    @property
    def system(self) -> Path:
        """What belongs to neither: notes, settings, calibrations."""
        return self.root / "system"
