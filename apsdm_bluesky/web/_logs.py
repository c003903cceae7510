"""What a process printed: a page that grows with it, and the whole file."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain
from typing import Annotated, Literal

from fastapi import Header, HTTPException, Query, Request
from starlette.responses import Response, StreamingResponse

from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows.jobs import Attempt, Job, OutputFile, shown

from ._beamline import Beamline, Here
from ._live import event, pushed
from ._pages import HEADERS, Member, page
from ._route import pages

router = pages()

_NAMES = ("stdout", "stderr")
_TAIL = 256 << 10  # bytes of each file that a page begins with, and that are sent at a time
Offset = Annotated[int, Query(ge=0, lt=10**18)]
_TOO_MUCH = "It prints more than a page can hold: load the page again to go on, or save the file."
_MOST = 4 << 20  # bytes that are sent to one page: beyond, a browser becomes slow


@router.get("/jobs/{uid}/logs/{attempt}")
def show(request: Request, uid: str, attempt: str, person: Member, here: Here) -> Response:
    """The end of what a process printed; it is followed while the process runs."""
    job, one = _found(here, uid, attempt, person)
    files = [_open(here, job, one, name, at=-_TAIL) for name in _NAMES]
    kept = (one.stdout, one.stderr)  # the last lines, which are known where the files are gone
    texts = [shown(_text(file) or last) for file, last in zip(files, kept, strict=True)]
    offsets = [_read(file) for file in files]
    return page(request, "logs.html", person, job=job, one=one, names=_NAMES, texts=texts, offsets=offsets)


@router.get("/jobs/{uid}/logs/{attempt}/events")
def events(
    request: Request,
    uid: str,
    attempt: str,
    person: Member,
    here: Here,
    stdout: Offset = 0,
    stderr: Offset = 0,
    last_event_id: Annotated[str, Header(pattern=r"^(\d{1,18}-\d{1,18})?$")] = "",
) -> Response:
    """What is new of a process's output since these offsets, until the process has ended."""
    job, one = _found(here, uid, attempt, person)
    starts = [int(part) for part in last_event_id.split("-")] if last_event_id else [stdout, stderr]
    files = [_open(here, job, one, name, at=at) for name, at in zip(_NAMES, starts, strict=True)]
    sent = 0

    def look() -> tuple[str, bool]:
        nonlocal sent
        ended = here.store.attempt(job.id, one.id).ended is not None
        news = _news(files)
        sent += len(news)
        if sent > _MOST:
            news += event("fault", _TOO_MUCH)
        return news, sent > _MOST or (ended and not news)

    return pushed(request, look)


@router.get("/jobs/{uid}/logs/{attempt}/{name}")
def save(uid: str, attempt: str, name: Literal["stdout", "stderr"], person: Member, here: Here) -> Response:
    """The whole file, as it is, to be saved."""
    job, one = _found(here, uid, attempt, person)
    content = _open(here, job, one, name).news()
    first = next(content, None)  # what cannot be read is told before an answer begins
    if first is None:
        raise HTTPException(404, f"Nothing is in {name}, or its file is not on this machine any more.")
    place = f"{job.id[:8]}-{one.stage + 1}-{one.number}-{name}.txt"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{place}"'}
    return StreamingResponse(chain([first], content), media_type="text/plain; charset=utf-8", headers=headers)


def _found(here: Beamline, uid: str, attempt: str, person: Person) -> tuple[Job, Attempt]:
    job = here.job(uid, person)
    return job, here.process(job, attempt)


def _open(here: Beamline, job: Job, one: Attempt, name: str, *, at: int = 0) -> OutputFile:
    return OutputFile(here.store.folder(job.id) / one.folder / name, name, at=at)


def _text(file: OutputFile) -> str:
    return "".join(file.decoder.decode(data) for data in file.news(_TAIL))


def _news(files: Sequence[OutputFile]) -> str:
    return "".join(_pieces(files))


def _pieces(files: Sequence[OutputFile]) -> Iterator[str]:
    for file in files:
        if text := _text(file):
            yield event(file.title, escape(shown(text)), mark="-".join(str(_read(each)) for each in files))


def _read(file: OutputFile) -> int:
    """How far it was read, up to the last whole character."""
    return max(0, file.at) - len(file.decoder.getstate()[0])
