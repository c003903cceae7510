"""The pages of DAQs and uploads: the list, one of them, and a button that stops it."""

import time
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from apsdm_bluesky.daq import ACTIVE, Daq, DaqReport, DaqState, FileState
from apsdm_bluesky.tiled_config import Person

from ._daq_room import DaqRoom, Room
from ._live import event, pushed
from ._pages import Member, OwnForm, fragment, page
from ._route import pages

router = pages()

_LISTED = 100
_NAMED = 20  # files of a kind
_FILES = 200  # on a page of files
_SPARE = 5  # times as long as a look took, until the next: of a million files one takes a second
Text = Annotated[str, Query(max_length=500)]
Name = Annotated[str, Query(max_length=20_000)]


@router.get("/daqs")
def show_list(
    request: Request,
    person: Member,
    room: Room,
    state: DaqState | Literal[""] = "",
    experiment: Text = "",
) -> Response:
    """Those that fit, the latest first."""
    states = (state,) if state else ()
    found = room.list(person, experiment=experiment or None, states=states, limit=_LISTED + 1)
    chosen = {"state": state, "experiment": experiment}
    context: dict[str, Any] = {"daqs": found[:_LISTED], "more": len(found) > _LISTED, "chosen": chosen}
    return page(request, "daqs.html", person, states=list(DaqState), **context)


@router.get("/daqs/{uid}")
def show(request: Request, uid: str, person: Member, room: Room) -> Response:
    """Where one stands."""
    return page(request, "daq.html", person, **_about(room, room.daq(uid, person)))


@router.get("/daqs/{uid}/files")
def show_files(
    request: Request,
    uid: str,
    person: Member,
    room: Room,
    state: FileState | Literal[""] = "",
    after: Name = "",
) -> Response:
    """Its files, by name, page by page."""
    daq = room.daq(uid, person)
    states = (state,) if state else ()
    found = room.store.files(daq.id, states=states, after=after or None, limit=_FILES + 1)
    context: dict[str, Any] = {"files": found[:_FILES], "more": len(found) > _FILES, "state": state}
    return page(request, "daq_files.html", person, daq=daq, states=list(FileState), **context)


@router.get("/daqs/{uid}/events")
def events(request: Request, uid: str, person: Member, room: Room) -> Response:
    """The changing part of its page, each time when it has changed, until it has ended."""
    room.daq(uid, person)
    told: dict[str, Any] = {"text": "", "state": None, "next": 0.0}

    def look() -> tuple[str, bool]:
        began = time.monotonic()
        if began < told["next"]:
            return "", False
        about = _about(room, room.store.get(uid))
        daq, news = about["report"].daq, ""
        text = fragment(request, "_daq.html", person, **about)
        if text != told["text"]:
            news = event("daq", text)
        if daq.state != told["state"]:
            news += event("state", fragment(request, "_state.html", person, job=daq))
        now = time.monotonic()
        told.update(text=text, state=daq.state, next=now + _SPARE * (now - began))
        return news, daq.state not in ACTIVE

    return pushed(request, look)


@router.post("/daqs/{uid}/{change}", dependencies=[OwnForm])
def end(uid: str, change: Literal["stop", "cancel"], person: Member, room: Room) -> Response:
    """Have it come to its end, or end at once; one that has ended stays as it is."""
    daq = room.daq(uid, person)
    done = room.store.stop if change == "stop" else room.store.cancel
    done(daq.id, actor=_actor(person))
    return RedirectResponse(f"/daqs/{daq.id}", 303)


def _about(room: DaqRoom, daq: Daq) -> dict[str, Any]:
    """What its page tells."""
    report = DaqReport.of(room.store, daq.id, _NAMED)
    return {"report": report, "daq": report.daq, "ended": report.daq.state not in ACTIVE}


def _actor(person: Person) -> str:
    return f"{person.name} (page)"
