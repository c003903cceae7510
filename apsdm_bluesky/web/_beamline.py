"""What the routes of jobs and workflows work with: the store, and who may see what."""

import re
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows import Workflow
from apsdm_bluesky.workflows.jobs import Attempt, Job, JobStore

from ._filters import text_of
from ._opened import Opened

_ID = re.compile(r"[0-9a-f]{32}")


class Beamline:
    """The jobs of the configured beamline. The server starts, and serves the catalogue, without them.

    Parameters
    ----------
    config
        Names their folder and database.
    """

    def __init__(self, config: BeamlineConfig) -> None:
        self._config = config
        self._jobs = Opened(lambda: JobStore(config.folders.jobs, config.workflows.database), "jobs")

    @property
    def remotes(self) -> frozenset[str]:
        """Where stages may run beside this machine."""
        return frozenset(self._config.workflows.remotes)

    @property
    def store(self) -> JobStore:
        """Opened when it is first asked for. It blocks: for threads only.

        Raises
        ------
        StorageError, ServiceError, ConfigError
            It cannot be opened now; the next one who asks tries again.
        """
        return self._jobs.get()

    def writes(self, person: Person, owner: str) -> bool:
        """Whether a person may write workflows of this owner: their commands run as the agent's account."""
        trusted = self._config.workflows.authors == "everyone"
        return person.staff or (trusted and owner == person.name)

    def job(self, uid: str, person: Person) -> Job:
        """A job that this person may see; as far as others are concerned there is none: 404."""
        try:
            found = self.store.get(uid) if _ID.fullmatch(uid) else None
        except WorkflowError:
            found = None
        if found is None or not sees(person, found):
            raise HTTPException(404, "There is no such job, or it is somebody else's.")
        return found

    def process(self, job: Job, uid: str) -> Attempt:
        """A process of a job; 404 where there is none."""
        missing = HTTPException(404, "This job has no such process.")
        if not _ID.fullmatch(uid):
            raise missing
        try:
            return self.store.attempt(job.id, uid)
        except WorkflowError as error:
            raise missing from error

    def workflow(self, owner: str, name: str, version: int | None = None) -> Workflow:
        """A workflow by the parts of its address; 404 where there is none."""
        try:
            return self.store.definitions.get(text_of(name), owner=text_of(owner), version=version)
        except WorkflowError as error:
            raise HTTPException(404, str(error)) from error


def sees(person: Person, job: Job) -> bool:
    """Whether a person may see a job, and do something with it."""
    return person.staff or job.owner == person.name


def _beamline(request: Request) -> Beamline:
    found: Beamline = request.app.state.beamline
    return found


Here = Annotated[Beamline, Depends(_beamline)]
