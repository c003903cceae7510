"""What a facility knows of those who come: proposals, and experiment safety assessment forms (ESAFs)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityUser:
    """Somebody who takes part.

    Parameters
    ----------
    badge
        The number at the facility; it may begin with zeros.
    login
        The login name at the beamline; '' where the facility does not tell it.
    pi
        Whether this is the principal investigator.
    """

    badge: str
    first_name: str
    last_name: str
    login: str = ""
    email: str = ""
    institution: str = ""
    pi: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Beam time that was granted.

    Parameters
    ----------
    id
        Digits; they may begin with zeros. A proposal has beam time in several runs: a `Proposal` for each.
    run
        The period of operation: '2026-3'.
    start, end
        Of the beam time, in the facility's local time, without a zone.
    duration_s
        Beam time that was granted [s]; it may be less than from start to end.
    mail_in
        Whether samples come without their owners.
    proprietary
        Whether results belong to who pays.
    """

    id: str
    title: str
    run: str
    start: datetime
    end: datetime
    duration_s: float
    users: tuple[FacilityUser, ...] = ()
    mail_in: bool = False
    proprietary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Esaf:
    """An experiment safety assessment form: what is done, where, when and by whom.

    Parameters
    ----------
    id
        Digits; they may begin with zeros.
    sector
        Where in the ring: '08'.
    status
        As the facility calls it: 'Approved'.
    start, end
        In the facility's local time, without a zone.
    """

    id: str
    title: str
    description: str
    sector: str
    status: str
    start: datetime
    end: datetime
    users: tuple[FacilityUser, ...] = ()


@runtime_checkable
class FacilityDatabase(Protocol):
    """Proposals and ESAFs of a facility, as they are now. It may be asked by several threads.

    Every method raises `ServiceError` where the facility does not answer, and `ConfigError` where what it is
    configured with cannot be used. `apsdm_bluesky.testing.FacilityConformance` tells what is to hold.
    """

    def esafs(self, beamline: str, year: int | None = None) -> Sequence[Esaf]:
        """The ESAFs of a beamline, by their start, the latest first.

        Parameters
        ----------
        year
            Those that go on at any time in that year; None: all.
        """

    def esaf(self, id: str) -> Esaf:  # noqa: A002 - the field's name
        """One ESAF.

        Raises
        ------
        ExperimentError
            There is none with that number.
        """

    def proposals(self, beamline: str, run_name: str | None = None) -> Sequence[Proposal]:
        """The proposals of a beamline, by their start, the latest first.

        Parameters
        ----------
        run_name
            Those with beam time in that run; None: all.
        """

    def proposal(self, id: str, run_name: str | None = None) -> Proposal:  # noqa: A002 - the field's name
        """One proposal; of several runs, the latest one, or that which is asked for.

        Raises
        ------
        ExperimentError
            There is none with that number, or it has no beam time in that run.
        """
