"""What a new experiment takes from its proposal and its ESAF."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from apsdm_bluesky.errors import ExperimentError

from ._experiment import NewExperiment
from ._facility import Esaf, FacilityDatabase, FacilityUser, Proposal

_One = TypeVar("_One", Esaf, Proposal)


def spellings(number: str) -> tuple[str, ...]:
    """How a number may be written: people and clients leave zeros out, or fill it up to seven digits."""
    return tuple(dict.fromkeys((number, number.lstrip("0") or "0", number.zfill(7))))


def with_facility(
    new: NewExperiment, facility: FacilityDatabase
) -> tuple[NewExperiment, Sequence[FacilityUser]]:
    """Fill what is not given in from the experiment's ESAF and proposal, the ESAF first.

    Description (the title), start and end, and users, those of both. The numbers become the facility's own,
    with the zeros that they begin with there.

    Returns
    -------
    The experiment, and those who take part but whose login name the facility does not tell.

    Raises
    ------
    ExperimentError
        The facility has no such ESAF or proposal.
    ServiceError
        It does not answer.
    """
    found: list[Esaf | Proposal] = []
    if new.esaf is not None:
        found.append(esaf := _looked_up(facility.esaf, new.esaf))
        new = dataclasses.replace(new, esaf=esaf.id)
    if new.proposal is not None:
        found.append(proposal := _looked_up(facility.proposal, new.proposal))
        new = dataclasses.replace(new, proposal=proposal.id)
    if not found:
        return new, ()
    filled = dataclasses.replace(
        new,
        description=new.description or found[0].title,
        start=new.start or found[0].start.date(),
        end=new.end or found[0].end.date(),
    )
    if new.users:
        return filled, ()
    people = list(dict.fromkeys(user for one in found for user in one.users))
    logins = tuple(dict.fromkeys(user.login for user in people if user.login))
    known = {user.badge for user in people if user.login}
    nameless = {user.badge: user for user in people if user.badge not in known}
    return dataclasses.replace(filled, users=logins), tuple(nameless.values())


def _looked_up(find: Callable[[str], _One], number: str) -> _One:
    """That of this number, however it is written; the error is that of the number as it was given."""
    as_given, *others = spellings(number)
    try:
        return find(as_given)
    except ExperimentError:
        for spelling in others:
            with contextlib.suppress(ExperimentError):
                return find(spelling)
        raise
