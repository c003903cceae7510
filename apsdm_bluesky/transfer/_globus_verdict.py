"""What a task document of Globus Transfer means. Pure; nothing in it is parsed strictly, formats change."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ._globus_login import LOGIN_COMMAND
from ._protocol import TaskStatus

# What never passes by itself, by a word in the code or the text, and what a person does about it.
_NEEDS_PERSON = {
    "FILE_NOT_FOUND": "put the file back",
    "PATH_NOT_FOUND": "put the file back",
    "NOT_A_DIRECTORY": "move away what is in the folder's place",
    "PERMISSION_DENIED": "give this login permission there",
    "QUOTA": "free space or raise the quota at the destination, nothing was removed",
    "NO_SPACE": "free space at the destination, nothing was removed",
    "NO SPACE LEFT": "free space at the destination, nothing was removed",
}
# Globus tries these again until the deadline; a task that FAILED by them is over, and so is one that met
# nothing else so often.
_FATAL = {"CHECKSUM": "the file is not what was announced, find out who changed it"}
_TRIES = 5

_WAITING = {
    "PAUSED": (False, "an administrator paused it; it goes on when the pause ends"),
    "CREDENTIAL": (True, "the collection wants a fresh login: open it at app.globus.org"),
    "CONSENT": (True, f"a consent is missing: run '{LOGIN_COMMAND}'"),
    "AUTH": (True, f"the login is not accepted any more: run '{LOGIN_COMMAND}'"),
    "SESSION": (True, f"the collection's policy wants a fresh login: run '{LOGIN_COMMAND}'"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a task stands.

    Parameters
    ----------
    hopeless
        It goes on, but cannot succeed: it is to be cancelled.
    """

    status: TaskStatus
    detail: str = ""
    needs_person: bool = False
    hopeless: bool = False


def judge(task: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> Verdict:
    """How the task of the document stands; `events` are looked at where it is ACTIVE with faults.

    They come newest first; what went wrong before it got on is over.
    """
    match str(task.get("status")):
        case "SUCCEEDED":
            return Verdict(status=TaskStatus.SUCCEEDED)
        case "FAILED":
            return _failed(task)
        case "INACTIVE":
            return _inactive(task)
        case _:
            return _active(task, events)


def in_trouble(task: Mapping[str, Any]) -> bool:
    """Whether an ACTIVE task has met faults, so that its events are worth a look."""
    return task.get("status") == "ACTIVE" and (
        bool(task.get("faults")) or _nice(task) not in ("", "OK", "QUEUED")
    )


def _active(task: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Verdict:
    if task.get("is_paused"):
        return Verdict(status=TaskStatus.INACTIVE, detail=_waiting("PAUSED")[1])
    told = [
        (_nice(task), _words(task, "nice_status", "nice_status_short_description", "nice_status_details"))
    ]
    told += [
        (str(event.get("code")).upper(), _words(event, "code", "description", "details"))
        for event in itertools.takewhile(lambda event: event.get("is_error", True), events)
    ]
    tries = sum(bool(_advice(code, _FATAL)) for code, _ in told[1:])
    for code, words in told:
        advice = _advice(code, _NEEDS_PERSON | (_FATAL if tries >= _TRIES else {}))
        if advice:
            detail = f"{words}; cancelled, {advice}, then retry"
            return Verdict(status=TaskStatus.ACTIVE, detail=detail, needs_person=True, hopeless=True)
    if in_trouble(task) and told[0][0] not in ("", "OK", "QUEUED"):
        return Verdict(status=TaskStatus.ACTIVE, detail=f"Globus tries again: {told[0][1]}")
    return Verdict(status=TaskStatus.ACTIVE)


def _inactive(task: Mapping[str, Any]) -> Verdict:
    words = _words(task, "nice_status", "nice_status_short_description", "nice_status_details")
    person, advice = _waiting(f"{_nice(task)} {words.upper()}")
    return Verdict(status=TaskStatus.INACTIVE, detail=f"it waits ({words}): {advice}", needs_person=person)


def _failed(task: Mapping[str, Any]) -> Verdict:
    fatal = task.get("fatal_error")
    fatal = fatal if isinstance(fatal, Mapping) else {"description": fatal or "no reason is told"}
    words = _words(fatal, "code", "description")
    advice = _advice(f"{fatal.get('code')} {words}".upper(), _NEEDS_PERSON | _FATAL)
    detail = f"{words}; {advice}, then retry" if advice else f"{words}; sent again"
    return Verdict(status=TaskStatus.FAILED, detail=detail, needs_person=bool(advice))


def _advice(text: str, table: Mapping[str, str]) -> str:
    return next((advice for word, advice in table.items() if word in text), "")


def _waiting(text: str) -> tuple[bool, str]:
    known = (entry for word, entry in _WAITING.items() if word in text)
    return next(known, (False, "see the task at app.globus.org"))


def _nice(task: Mapping[str, Any]) -> str:
    return str(task.get("nice_status") or "").upper()


def _words(document: Mapping[str, Any], *keys: str) -> str:
    """The values that stand there, in one line, each once."""
    found = dict.fromkeys(" ".join(str(document[key]).split())[:200] for key in keys if document.get(key))
    return ": ".join(found)
