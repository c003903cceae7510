"""What the process that copies is told: plain values, one line of JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ._content import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where DAQs are kept, and how folders are watched; see `DaqConfig`.

    Parameters
    ----------
    station
        A name of the state folder that no other one has: two may write into one experiment.
    sources, home
        See `DaqStore`.
    """

    folder: str
    station: str
    url: str | None
    watch: Literal["auto", "inotify", "poll"]
    poll_s: float
    settle_s: float
    rules: Mapping[str, Rule]
    parallel: int
    sources: Sequence[str]
    home: str

    def encode(self) -> str:
        """As a line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def decode(cls, line: str) -> "Settings":
        """What `encode` gave.

        Raises
        ------
        ValueError, TypeError
            It is none.
        """
        return cls(**json.loads(line))

    @property
    def place(self) -> Path:
        """The folder."""
        return Path(self.folder)
