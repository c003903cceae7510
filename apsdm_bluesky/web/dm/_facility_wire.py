"""Proposals and ESAFs as DM's clients read them."""

from typing import Any

from apsdm_bluesky.experiments import Esaf, FacilityUser, Proposal


def esaf_record(esaf: Esaf) -> dict[str, Any]:
    """An ESAF; its times are the facility's."""
    return {
        "esafId": _number(esaf.id),
        "esafTitle": esaf.title,
        "esafStatus": esaf.status,
        "description": esaf.description,
        "sector": esaf.sector,
        "experimentStartDate": esaf.start.isoformat(" ", "seconds"),
        "experimentEndDate": esaf.end.isoformat(" ", "seconds"),
        "experimentUsers": [_user_record(user) for user in esaf.users],
    }


def proposal_record(proposal: Proposal) -> dict[str, Any]:
    """A proposal; its times are the facility's, the duration is in seconds."""
    return {
        # A number, whatever it begins with: clients fill it up with zeros again.
        "id": int(proposal.id) if proposal.id.isdecimal() else proposal.id,
        "title": proposal.title,
        "runName": proposal.run,
        "startTime": proposal.start.isoformat(" ", "seconds"),
        "endTime": proposal.end.isoformat(" ", "seconds"),
        "duration": proposal.duration_s,
        "mailInFlag": _flag(proposal.mail_in),
        "proprietaryFlag": _flag(proposal.proprietary),
        "experimenters": [_user_record(user) for user in proposal.users],
    }


def _user_record(user: FacilityUser) -> dict[str, Any]:
    return {
        "badge": user.badge,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "username": user.login,
        "email": user.email,
        "institution": user.institution,
        "piFlag": _flag(user.pi),
    }


def _flag(value: bool) -> str:
    return "Yes" if value else "No"


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() and not text.startswith("0") else text
