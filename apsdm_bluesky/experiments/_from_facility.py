"""What a new experiment takes from its proposal and its ESAF."""

import dataclasses
from collections.abc import Sequence

from ._experiment import NewExperiment
from ._facility import Esaf, FacilityDatabase, FacilityUser, Proposal


def with_facility(
    new: NewExperiment, facility: FacilityDatabase
) -> tuple[NewExperiment, Sequence[FacilityUser]]:
    """Fill what is not given in from the experiment's ESAF and proposal, the ESAF first.

    Description (the title), start and end, and users, those of both.

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
        found.append(facility.esaf(new.esaf))
    if new.proposal is not None:
        found.append(facility.proposal(new.proposal))
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
