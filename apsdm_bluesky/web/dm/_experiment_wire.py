"""Experiments as DM's clients read and write them."""

import socket
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from fastapi import HTTPException

from apsdm_bluesky.experiments import Experiment, NewExperiment

from ._answer import moment

# Of stations, types and storages DM has numbers; we have none.
_NO_NUMBER = 0
# Clients need an end. One that nobody takes for a date that was planned.
_NO_END = "9999-12-31 00:00:00+00:00"
_LAST_SECOND = time(23, 59, 59)
_DAYS = ("%Y-%m-%d", "%d-%b-%y", "%Y-%m-%d %H:%M:%S")
_TEXTS = {
    "name": "name",
    "typeName": "type",
    "description": "description",
    "proposalId": "proposal",
    "esafId": "esaf",
}
_KNOWN = (*_TEXTS, "experimentUsernameList", "startDate", "endDate", "stationName")


def experiment_record(experiment: Experiment) -> dict[str, Any]:
    """An experiment, with its folders. Without a first day, that is the day on which it was made."""
    start = experiment.start or datetime.fromtimestamp(experiment.created).astimezone().date()
    host = socket.gethostname()
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": experiment.description,
        "stationName": experiment.station,
        "experimentStation": _named(experiment.station),
        "experimentType": _named(experiment.type),
        "primaryStorage": _named("local"),
        "createDate": moment(experiment.created),
        "updateDate": moment(experiment.updated),
        "startDate": _day(start),
        "endDate": _NO_END if experiment.end is None else _day(experiment.end, _LAST_SECOND),
        "experimentUsernameList": experiment.users,
        "proposalId": experiment.proposal,
        "esafId": experiment.esaf,
        "rootPath": "",
        "storageDirectory": str(experiment.root),
        "storageHost": host,
        "storageUrl": f"file://{host}{experiment.root}",
        "dataDirectory": str(experiment.data),
        "analysisDirectory": str(experiment.analysis),
        "systemDirectory": str(experiment.system),
        "dataDirectoryFrozen": False,
        "analysisDirectoryFrozen": False,
        "managedDirectoryStructure": True,
        "beamlineAdminAccount": "",
        "beamlineUserAccount": "",
    }


def read_experiment(data: Mapping[str, Any], station: str) -> NewExperiment:
    """The experiment that a client asks for.

    Parameters
    ----------
    station
        The one that is here.

    Raises
    ------
    HTTPException
        400: a key is not known, or holds what it cannot.
    """
    for key in data:
        if key not in _KNOWN:
            raise HTTPException(400, f"experiment, {key!r}: is not known here; known are {', '.join(_KNOWN)}")
    if _text(data, "stationName") not in (None, "", station):
        raise HTTPException(400, f"experiment, 'stationName': experiments of {station!r} are made here")
    given = {field: _text(data, key) for key, field in _TEXTS.items()}
    return NewExperiment(
        name=given["name"] or "",
        type=given["type"] or "",
        description=given["description"] or "",
        proposal=given["proposal"] or None,
        esaf=given["esaf"] or None,
        users=_users(data.get("experimentUsernameList")),
        start=_read_day(data, "startDate"),
        end=_read_day(data, "endDate"),
    )


def _named(name: str) -> Mapping[str, Any]:
    return {"id": _NO_NUMBER, "name": name, "description": ""}


def _day(day: date, at: time = time()) -> str:
    moment = datetime.combine(day, at)  # its zone comes below, where there is one
    return str(moment.astimezone() if 1970 <= day.year < 9999 else moment)


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key in ("proposalId", "esafId"):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise HTTPException(400, f"experiment, {key!r}: give a text")
    return value


def _users(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise HTTPException(400, "experiment, 'experimentUsernameList': give a list of login names")
    return tuple(value)


def _read_day(data: Mapping[str, Any], key: str) -> date | None:
    text = _text(data, key)
    if not text:
        return None
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise HTTPException(400, f"experiment, {key!r}: is {text[:40]!r}; give a day, as 2026-10-06 or 06-Oct-26")
