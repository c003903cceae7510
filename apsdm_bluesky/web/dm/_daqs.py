"""DAQs and uploads. Staff see all, others their own, and those of experiments in which they take part."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from apsdm_bluesky.daq import ACTIVE, Daq, Kind, NewDaq
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.experiments import Experiment
from apsdm_bluesky.tiled_config import Person

from ._answer import Answer
from ._codec import mapping_of, text_of
from ._daq_wire import daq_record
from ._here import DmStation, Here, Member
from ._task_info import TaskInfo

router = APIRouter()

_MOST = 1_000  # in a list
_AT_WORK = 20  # DAQs and uploads of one person who is not staff: each takes a thread and files
_OTHER_MACHINE = re.compile(r"[^/]*@|[^/]+:/")  # DM's `@host:/path`


@router.post("/experimentsByName/{name}/startDaq/{folder}")
def start_daq(name: str, folder: str, person: Member, here: Here, taskInfo: str = "") -> Response:
    """Have a folder watched."""
    return Answer(daq_record(_start(here, person, Kind.DAQ, name, folder, taskInfo)))


@router.post("/experimentsByName/{name}/upload/{folder}")
def upload(name: str, folder: str, person: Member, here: Here, taskInfo: str = "") -> Response:
    """Have a folder, or a file of it, taken as it is."""
    return Answer(daq_record(_start(here, person, Kind.UPLOAD, name, folder, taskInfo)))


@router.post("/experimentsByName/{name}/stopDaq/{folder}")
def stop_daq(name: str, folder: str, person: Member, here: Here) -> Response:
    """Have no new files of a folder looked for; what is complete is brought to its end."""
    experiment = here.experiment(text_of(name, "experiment name"), person)
    running = _running(here, Kind.DAQ, experiment, _folder(folder))
    if not running:
        raise HTTPException(404, f"No DAQ of {experiment.name} takes that folder now.")
    return Answer(daq_record(here.daqs.store.stop(running[0].id, actor=f"{person.name} (DM)")))


@router.get("/experimentDaqs")
def daqs(person: Member, here: Here) -> Response:
    """All DAQs, the latest first."""
    return _listed(here, person, Kind.DAQ)


@router.get("/experimentDaqs/{uid}")
def daq(uid: str, person: Member, here: Here) -> Response:
    """One of them."""
    return Answer(daq_record(_one(here, person, Kind.DAQ, uid)))


@router.get("/experimentUploads")
def uploads(person: Member, here: Here) -> Response:
    """All uploads, the latest first."""
    return _listed(here, person, Kind.UPLOAD)


@router.get("/experimentUploads/{uid}")
def one_upload(uid: str, person: Member, here: Here) -> Response:
    """One of them."""
    return Answer(daq_record(_one(here, person, Kind.UPLOAD, uid)))


@router.post("/experimentUploads/{uid}/stopUpload")
def stop_upload(uid: str, person: Member, here: Here) -> Response:
    """Have an upload end; what it has taken stays taken."""
    found = _one(here, person, Kind.UPLOAD, uid)
    return Answer(daq_record(here.daqs.store.stop(found.id, actor=f"{person.name} (DM)")))


def _start(here: DmStation, person: Person, kind: Kind, name: str, folder: str, asked: str) -> Daq:
    experiment = here.experiment(text_of(name, "experiment name"), person)
    place = _folder(folder)
    info = TaskInfo(mapping_of(asked, "taskInfo"), kind)
    source = info.source(place)
    _check_allowed(here, person, source)
    if running := _running(here, kind, experiment, source):
        raise HTTPException(409, f"{source}: {kind} {running[0].id} takes it already; stop that one")
    new = NewDaq(
        kind=kind,
        experiment=experiment.name,
        station=experiment.station,
        source=source,
        root=experiment.root,
        owner=_job_owner(info, person),
        options=info.options(place, _workflow_owner(here, info, person)),
    )
    try:
        most = None if person.staff else _AT_WORK
        return here.daqs.store.start(new, actor=f"{person.name} (DM)", most=most)
    except OSError as error:  # of a name that is too long, or a folder that this account may not look into
        raise HTTPException(
            400, f"{source}: cannot be looked at ({error.strerror}); see its access"
        ) from error


def _folder(argument: str) -> Path:
    text = text_of(argument, "folder")
    if _OTHER_MACHINE.match(text):
        raise HTTPException(
            400, f"{text}: names another machine; give the folder's path as the beamline's agent sees it"
        )
    return Path(os.path.normpath(text)) if text else Path()


def _check_allowed(here: DmStation, person: Person, source: Path) -> None:
    """Only staff may have any folder read: it is read as the agent's account. The store asks for the rest."""
    if person.staff:
        return
    real = os.path.realpath(source)
    allowed = [os.path.realpath(folder) for folder in here.config.daq.sources]
    if not any(Path(real).is_relative_to(folder) for folder in allowed):
        raise HTTPException(403, f"{source}: is in none of the folders that others than staff may have taken")


def _job_owner(info: TaskInfo, person: Person) -> str:
    owner = info.job_owner or person.name
    if owner != person.name and not person.staff:
        raise HTTPException(403, "taskInfo, 'workflowJobOwner': only staff start jobs of others")
    return owner


def _workflow_owner(here: DmStation, info: TaskInfo, person: Person) -> str:
    owner = info.workflow_owner or person.name
    if info.workflow is not None:
        try:
            here.jobs.store.definitions.get(info.workflow, owner=owner)
        except WorkflowError as error:
            raise HTTPException(400, f"taskInfo, 'workflowName': {error}") from error
    return owner


def _running(here: DmStation, kind: Kind, experiment: Experiment, source: Path) -> Sequence[Daq]:
    active = here.daqs.store.list(kind=kind, experiment=experiment.name, states=ACTIVE)
    return [one for one in active if one.source == source and one.root == experiment.root]


def _listed(here: DmStation, person: Person, kind: Kind) -> Response:
    return Answer([daq_record(one) for one in here.daqs.list(person, kind=kind, limit=_MOST)])


def _one(here: DmStation, person: Person, kind: Kind, uid: str) -> Daq:
    found = here.daqs.daq(uid, person)
    if found.kind is not kind:
        raise HTTPException(404, f"{uid} is no {kind}.")
    return found
